#!/usr/bin/env python
"""Draw what the data pipeline feeds the network: tools/browse_dataset.py CONFIG --out DIR [--split SPLIT] ..."""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.options import add_config_options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw what the data pipeline feeds the network, after augmentation and padding, as contact sheets.'
    )
    parser.add_argument('config', help='config file, such as configs/semfpn_trtvit_b_ade20k.py')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the contact sheets')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='(default: %(default)s)')
    parser.add_argument('--number', type=int, default=16, help='number of images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of order and augmentation (default: %(default)s)')
    add_config_options(parser, example='slide')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    from mmtrtvit.visualization import browse

    for path in browse(**vars(args)):
        print(path)


if __name__ == '__main__':
    sys.exit(main())
