#!/usr/bin/env python
"""Count predicted classes by true class: tools/confusion_matrix.py CONFIG PREDICTIONS.pkl|CHECKPOINT --out DIR ..."""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.options import add_config_options


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Confusion matrix of a detector, segmentor or classifier, as JSON and PNG.'
    )
    parser.add_argument('config', help='config file, such as configs/semfpn_trtvit_b_ade20k.py')
    parser.add_argument('source', help='what tools/test.py --out wrote (.pkl), or a checkpoint to evaluate')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for confusion_matrix.json and .png')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='score from which a detection counts (default: %(default)s)'
    )
    parser.add_argument(
        '--iou-thr', type=float, default=0.5, help='overlap of boxes of one object (default: %(default)s)'
    )
    add_config_options(parser, example='slide')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    from mmtrtvit.apis import confusion_matrix

    matrix = confusion_matrix(**vars(args))
    print(f'\nWhat is taken for what most often, in {matrix.unit} and as a share of the truth:')
    for truth, predicted, count, share in matrix.worst():
        print(f'  {truth:20} for {predicted:20} {count:10}  {share:6.1%}')
    print(f'\nMatrix: {args.out}/confusion_matrix.json   Picture: {args.out}/confusion_matrix.png')


if __name__ == '__main__':
    sys.exit(main())
