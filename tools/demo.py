#!/usr/bin/env python
"""Train, evaluate, export, check, time and draw a TRT-ViT detector on the toy data set."""

import argparse
import sys

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--config', default='configs/maskrcnn_trtvit_a_toy.py', help='detection config')
    parser.add_argument(
        '--deploy-cfg', default='configs/deploy/instance-seg_onnxruntime_dynamic.py', help='deploy config'
    )
    parser.add_argument('--work-dir', default='work_dirs/demo', help='where everything goes')
    parser.add_argument('--train-images', type=int, default=1700, help='images to train on')
    parser.add_argument('--val-images', type=int, default=80, help='images to evaluate on')
    parser.add_argument('--epochs', type=int, help='epochs, in place of the number in the config')
    parser.add_argument('--resume', action='store_true', help='go on from the latest checkpoint of a stopped run')
    return parser.parse_args()


@command_line
def main() -> int:
    args = parse_args()
    from mmtrtvit.apis.demo import demo

    summary = demo(**vars(args))
    return 0 if summary['parity']['passed'] else 1


if __name__ == '__main__':
    sys.exit(main())
