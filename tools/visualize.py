#!/usr/bin/env python
"""Draw image, truth and prediction side by side: tools/visualize.py CONFIG CHECKPOINT --out DIR ..."""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.options import add_config_options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw image, truth and prediction side by side, one PNG an image.')
    parser.add_argument('config', help='config file, such as configs/semfpn_trtvit_b_ade20k.py')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the pictures')
    parser.add_argument('--images', nargs='+', metavar='PATH', help='files or folders, in place of the test split')
    parser.add_argument('--number', type=int, default=8, help='images of the test split (default: %(default)s)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='score from which a detection is drawn (default: %(default)s)'
    )
    parser.add_argument(
        '--allow-mismatch', action='store_true', help='accept a checkpoint that does not fill the whole network'
    )
    add_config_options(parser, example='slide')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    from mmtrtvit.visualization import visualize

    written = visualize(**vars(args))
    print(f'{len(written)} pictures in {args.out}')


if __name__ == '__main__':
    sys.exit(main())
