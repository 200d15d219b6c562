#!/usr/bin/env python
"""Export a checkpoint and prove the artefact: tools/deploy.py MODEL_CFG CHECKPOINT --backend ... --work-dir DIR"""

import argparse
import sys

from mmengine.config import DictAction

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Export a checkpoint through mmdeploy, make what the backend runs, compare it with PyTorch on the '
        'same images, and leave a folder with engine, report and manifest. Exit status 1 when the two do not agree.'
    )
    parser.add_argument('model_cfg', help='model config, such as configs/maskrcnn_trtvit_b_coco.py')
    parser.add_argument('checkpoint', help='checkpoint of that model')
    parser.add_argument('--work-dir', required=True, help='where the artefact goes')
    parser.add_argument(
        '--backend',
        choices=['onnxruntime', 'openvino', 'tensorrt', 'tensorrt-rtx'],
        help='what will run it (default: onnxruntime)',
    )
    parser.add_argument(
        '--precision', choices=['fp32', 'fp16', 'bf16', 'int8'], default='fp32', help='of the graph (default: fp32)'
    )
    parser.add_argument(
        '--flavour',
        choices=['native', 'portable'],
        help='standard NonMaxSuppression and RoiAlign, or plain arithmetic (default: what the backend has)',
    )
    parser.add_argument('--shape', metavar='HxW', help='one input size; images are padded to it (default: any size)')
    parser.add_argument(
        '--dynamic', nargs=3, metavar=('MIN', 'OPT', 'MAX'), help='smallest, usual and largest input size, each HxW'
    )
    parser.add_argument(
        '--batch', nargs='+', type=int, metavar='N', help='images in the input, or smallest, usual and largest number'
    )
    parser.add_argument(
        '--deploy-cfg', help="mmdeploy's deploy config, in place of --backend, --flavour, --shape, --dynamic, --batch"
    )
    parser.add_argument('--image', help='image to trace, compare and draw (default: the first of the test split)')
    parser.add_argument(
        '--images', type=int, default=8, help='how many of the test split to compare and evaluate on (default: 8)'
    )
    parser.add_argument(
        '--nodes-to-exclude',
        '--keep',
        nargs='+',
        default=[],
        metavar='NODE',
        help='nodes, or modules with all of theirs, that stay in FP32',
    )
    parser.add_argument('--search', action='store_true', help='find further nodes that have to stay in FP32')
    parser.add_argument(
        '--calibration',
        choices=['minmax', 'percentile', 'entropy'],
        default='minmax',
        help='how the ranges of INT8 are chosen (default: minmax)',
    )
    parser.add_argument('--no-latency', dest='timed', action='store_false', help='do not time PyTorch and the artefact')
    tensorrt = parser.add_argument_group('TensorRT')
    tensorrt.add_argument(
        '--targets', nargs='+', default=[], metavar='SM', help='GPUs to build for, such as sm86 (tensorrt-rtx only)'
    )
    tensorrt.add_argument('--timing-cache', metavar='FILE', help='measured kernels, read and written')
    tensorrt.add_argument('--workspace-mib', type=int, help='limit of the scratch memory (default: none)')
    parser.add_argument(
        '--allow-mismatch', action='store_true', help='accept a checkpoint that does not fill the whole network'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')
    args = parser.parse_args()
    options = ('backend', 'flavour', 'shape', 'dynamic', 'batch')
    replaced = [f'--{name}' for name in options if getattr(args, name) is not None]
    if args.deploy_cfg and replaced:
        parser.error(f'--deploy-cfg does not go with {", ".join(replaced)}, which it says itself')
    if args.images < 1:
        parser.error('--images takes a number from 1 on')
    return args


@command_line
def main() -> int:
    args = vars(parse_args())
    from mmtrtvit.deploy.conversion import deploy
    from mmtrtvit.deploy.engines.build import EngineOptions
    from mmtrtvit.deploy.export.input_shapes import input_shapes

    shapes = input_shapes(args.pop('shape'), args.pop('dynamic'), args.pop('batch'))
    engine = EngineOptions(tuple(args.pop('targets')), args.pop('timing_cache'), args.pop('workspace_mib'))
    backend = args.pop('backend') or 'onnxruntime'
    _, proof = deploy(**args, backend=backend, shapes=shapes, engine=engine)
    print(f'{args["work_dir"]}: {"PASS" if proof.passed else "FAIL: " + "; ".join(proof.failures)}')
    return 0 if proof.passed else 1


if __name__ == '__main__':
    sys.exit(main())
