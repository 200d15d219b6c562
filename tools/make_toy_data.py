"""Make a small data set in the COCO and ADE20K layouts, from nothing but what is installed."""

import argparse
import sys

from mmtrtvit.errors import command_line


@command_line
def main() -> None:
    """Read the command line, make the data set, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/toy', help='folder to make')
    parser.add_argument('--train', type=int, default=1700, help='number of training images')
    parser.add_argument('--val', type=int, default=80, help='number of validation images')
    parser.add_argument('--seed', type=int, default=0, help='another seed, other images')
    parser.add_argument('--overwrite', action='store_true', help='replace a toy data set that is there')
    args = parser.parse_args()
    from mmtrtvit.datasets.toy import make_toy_dataset

    summary = make_toy_dataset(args.out, train=args.train, val=args.val, seed=args.seed, overwrite=args.overwrite)
    print(summary.report())


if __name__ == '__main__':
    sys.exit(main())
