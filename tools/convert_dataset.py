"""Convert Pascal VOC, YOLO, LabelMe, COCO of other tools, or label maps to the layout that the configs read."""

import argparse
import sys

from mmtrtvit.datasets.own import FORMATS, convert_dataset
from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with images and annotations')
    parser.add_argument('--out', required=True, help='folder to make: COCO layout, or ADE20K layout for label maps')
    parser.add_argument('--format', choices=FORMATS, help='by default it is told by the files')
    parser.add_argument(
        '--val-share', type=float, default=0.2, help='share of the images for val where the source has no splits (0.2)'
    )
    parser.add_argument('--seed', type=int, default=0, help='decides which images these are (0)')
    parser.add_argument('--copy', action='store_true', help='copy the images; by default they are linked')
    parser.add_argument(
        '--map',
        nargs='+',
        default=[],
        metavar='VALUE=CLASS',
        help='class of each value (255=cell) or colour (0,0,255=sky) of label maps, and of the others (rest=other); '
        '"ignore" leaves pixels out',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        default=[],
        metavar='CLASS',
        help='the order of the classes; for label maps without --map, the names of the values 0, 1, ...',
    )
    return parser.parse_args()


@command_line
def main() -> None:
    """Convert and print the counts."""
    args = parse_args()
    done = convert_dataset(
        args.source,
        args.out,
        format=args.format,
        val_share=args.val_share,
        seed=args.seed,
        copy=args.copy,
        mapping=args.map,
        classes=args.classes,
    )
    print(done.report())


if __name__ == '__main__':
    sys.exit(main())
