#!/usr/bin/env python
"""Evaluate a checkpoint, or an exported artefact: tools/test.py CONFIG [CHECKPOINT | --backend-dir DIR] ..."""

import argparse
import os
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.options import add_config_options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Evaluate a detector, segmentor or classifier on the test split of its config.'
    )
    parser.add_argument('config', help='config file, such as configs/maskrcnn_trtvit_b_coco.py')
    tested = parser.add_mutually_exclusive_group(required=True)
    tested.add_argument('checkpoint', nargs='?', help='checkpoint to evaluate in PyTorch')
    tested.add_argument('--backend-dir', metavar='DIR', help='folder of tools/deploy.py, to evaluate the artefact')
    parser.add_argument('--work-dir', help='where the log goes (default: work_dirs/<config name>)')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions as well')
    parser.add_argument('--tile', type=int, metavar='PIXELS', help='cut large images into tiles, with --backend-dir')
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='draw predictions beside the truth into this folder, below that of the run unless it is absolute',
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation (several scales and flips)')
    parser.add_argument('--per-class', action='store_true', help='figures of every class (printed for mIoU anyway)')
    parser.add_argument(
        '--allow-mismatch', action='store_true', help='accept a checkpoint that does not fill the whole network'
    )
    add_config_options(parser, example='slide')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    only_pytorch = args.tta or args.per_class or args.allow_mismatch or args.variants or args.launcher != 'none'
    if args.backend_dir and only_pytorch:
        parser.error('--tta, --per-class, --allow-mismatch, --variant and --launcher do not go with --backend-dir')
    if args.tile is not None and not args.backend_dir:
        parser.error('--tile goes with --backend-dir')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    del args.local_rank
    return args


@command_line
def main() -> None:
    args = vars(parse_args())
    if args['backend_dir']:
        from mmtrtvit.apis import evaluate_artefact

        for name in ('checkpoint', 'tta', 'per_class', 'allow_mismatch', 'variants', 'launcher'):
            del args[name]
        evaluate_artefact(**args)
    else:
        from mmtrtvit.apis import evaluate

        del args['backend_dir'], args['tile']
        evaluate(**args)


if __name__ == '__main__':
    sys.exit(main())
