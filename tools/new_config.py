"""Write a config that trains a shipped detector, segmentor or classifier on a data set of your own."""

import argparse
import sys

from mmtrtvit.apis import new_config
from mmtrtvit.errors import command_line


def width_and_height(text: str) -> tuple[int, int]:
    """``'640x480'`` as two numbers."""
    width, _, height = text.partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r} is not WIDTHxHEIGHT, such as 640x480')
    return int(width), int(height)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='The file is yours to change. It trains from scratch, unless --from says otherwise.'
    )
    parser.add_argument('config', help='a config for COCO, ADE20K or ImageNet, such as retinanet_trtvit_a_coco.py')
    parser.add_argument(
        '--data',
        required=True,
        metavar='DIR',
        help='the --out of tools/convert_dataset.py; for a classifier a folder with train/CLASS/ and val/CLASS/',
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='the config to write, in any folder')
    parser.add_argument(
        '--size',
        type=width_and_height,
        metavar='WxH',
        help='width and height that images are fitted into (default: those of the images, at most those of CONFIG)',
    )
    parser.add_argument('--epochs', type=int, help='passes over the images (default: by their number)')
    parser.add_argument('--batch-size', type=int, help='images an iteration (default: 4, and 16 for a classifier)')
    parser.add_argument(
        '--from',
        dest='checkpoint',
        metavar='CHECKPOINT',
        help='start from a checkpoint of CONFIG with other classes, or of its backbone',
    )
    return parser.parse_args()


@command_line
def main() -> None:
    """Write the config and print its settings with their reasons."""
    args = vars(parse_args())
    print(new_config(args.pop('config'), **args).report())


if __name__ == '__main__':
    sys.exit(main())
