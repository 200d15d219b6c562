#!/usr/bin/env python
"""Export a checkpoint and prove the artefact: tools/deploy.py MODEL_CFG CHECKPOINT --backend ... --work-dir DIR"""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.options import config_options
from mmtrtvit.runtime.backends import BACKENDS
from mmtrtvit.runtime.precisions import PRECISIONS
from mmtrtvit.runtime.tasks import FLAVOURS

EXIT_STATUS = {'PASS': 0, 'FAIL': 1, 'UNDECIDED': 3}
"""Verdict of the proof to exit status; 2 is for input that cannot be used."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Export a checkpoint through mmdeploy, make what the backend runs, compare it with PyTorch on the '
        'same images, and leave a folder with engine, report and manifest. Exit status 1 if the two do not agree, 3 if '
        'these images leave it undecided.'
    )
    parser.add_argument(
        'model_cfg',
        help='model config, such as configs/maskrcnn_trtvit_b_coco.py or mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    )
    parser.add_argument('checkpoint', help='checkpoint of that model')
    parser.add_argument('--work-dir', required=True, help='where the artefact goes')
    parser.add_argument(
        '--backend',
        choices=list(BACKENDS),
        help='what will run it (default: onnxruntime)',
    )
    parser.add_argument('--precision', choices=list(PRECISIONS), default='fp32', help='of the graph (default: fp32)')
    parser.add_argument(
        '--flavour',
        choices=FLAVOURS,
        help='standard NonMaxSuppression and RoiAlign, or plain arithmetic (default: plain for TensorRT)',
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
        '--images',
        type=int,
        help='how many of the test split to compare and evaluate on '
        f'(default: {", ".join(f"{p.images} for {p.name}" for p in PRECISIONS.values())})',
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
    group = parser.add_argument_group('options of some backends')
    for name, settings in (
        ('targets', dict(nargs='+', default=[], metavar='SM', help='GPUs to build for, such as sm86')),
        ('timing_cache', dict(metavar='FILE', help='measured kernels, read and written')),
        ('workspace_mib', dict(type=int, metavar='MIB', help='limit of the scratch memory, by default none')),
    ):
        able = ', '.join(backend.name for backend in BACKENDS.values() if name in backend.build_options)
        settings['help'] += f' ({able})'
        group.add_argument(f'--{name.replace("_", "-")}', **settings)
    parser.add_argument(
        '--allow-mismatch', action='store_true', help='accept a checkpoint that does not fill the whole network'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=config_options(), metavar='KEY=VALUE', help='change the config'
    )
    args = parser.parse_args()
    if args.images is not None and args.images < 1:
        parser.error('--images takes a number from 1 on')
    return args


@command_line
def main() -> int:
    args = vars(parse_args())
    from mmtrtvit.deploy.conversion import deploy
    from mmtrtvit.deploy.export.input_shapes import input_shapes

    shapes = input_shapes(args.pop('shape'), args.pop('dynamic'), args.pop('batch'))
    _, proof = deploy(**args, shapes=shapes)
    print(f'{args["work_dir"]}: {proof}')
    return EXIT_STATUS[proof.verdict]


if __name__ == '__main__':
    sys.exit(main())
