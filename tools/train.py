#!/usr/bin/env python
"""Train a config: tools/train.py CONFIG [--work-dir DIR] [--resume [auto|PATH]] [--amp] ..."""

import argparse
import os
import sys

from mmtrtvit.apis import train
from mmtrtvit.errors import command_line
from mmtrtvit.options import add_config_options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a detector, segmentor or classifier.')
    parser.add_argument('config', help='config file, such as configs/maskrcnn_trtvit_b_coco.py')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help='go on from a checkpoint; without a path, from the latest one of the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the batch really used')
    parser.add_argument(
        '--allow-mismatch',
        action='store_true',
        help='accept a load_from checkpoint that does not fill the whole network (if only the classes differ, rather '
        '--cfg-options new_classes=True)',
    )
    add_config_options(parser, example='layer-decay')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun passes the one, older launchers the other
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    del args.local_rank
    return args


@command_line
def main() -> None:
    train(**vars(parse_args()))


if __name__ == '__main__':
    sys.exit(main())
