#!/usr/bin/env python
"""Export a checkpoint: tools/deploy.py MODEL_CFG CHECKPOINT --deploy-cfg DEPLOY_CFG --work-dir DIR"""

import argparse
import sys

from mmengine.config import DictAction

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Export a checkpoint through mmdeploy, compare the artefact with PyTorch, and write a manifest. '
        'Exit status 1 when the two do not agree.'
    )
    parser.add_argument('model_cfg', help='model config, such as configs/maskrcnn_trtvit_b_coco.py')
    parser.add_argument('checkpoint', help='checkpoint of that model')
    parser.add_argument(
        '--deploy-cfg', required=True, help='deploy config, such as configs/deploy/instance-seg_onnxruntime_dynamic.py'
    )
    parser.add_argument('--work-dir', required=True, help='where the artefact goes')
    parser.add_argument('--image', help='image to trace, compare and draw (default: the first of the test split)')
    parser.add_argument('--images', type=int, default=3, help='how many of the test split to compare on (default: 3)')
    parser.add_argument(
        '--allow-mismatch', action='store_true', help='accept a checkpoint that does not fill the whole network'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')
    return parser.parse_args()


@command_line
def main() -> int:
    args = parse_args()
    from mmtrtvit.deploy import deploy

    _, parity = deploy(**vars(args))
    print(f'{args.work_dir}: {"PASS" if parity.passed else "FAIL: the artefact does not give what PyTorch gives"}')
    return 0 if parity.passed else 1


if __name__ == '__main__':
    sys.exit(main())
