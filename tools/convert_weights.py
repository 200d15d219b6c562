#!/usr/bin/env python
"""Convert weights of another implementation: tools/convert_weights.py SOURCE --family FAMILY --out FILE"""

import argparse
import sys

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint of the official code, timm or mmpretrain into one that a config loads by '
        "init_cfg=dict(type='Pretrained', checkpoint=FILE). Every tensor is mapped by its name, dropped for a reason, "
        'or the file is refused; the report is printed and stands beside FILE as JSON.'
    )
    parser.add_argument('path', metavar='SOURCE', help='checkpoint: a file of torch.save, or .safetensors')
    parser.add_argument(
        '--family',
        required=True,
        help='nextvit, efficientformer, turbovit (of timm: its Hiera), or trtvit: the start of TRT-ViT-D from a ResNet',
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='checkpoint to write (.pth)')
    parser.add_argument('--source', help='official, timm, mmpretrain or resnet (default: the names tell)')
    parser.add_argument('--arch', help='size, such as s or l1 (default: the shapes tell)')
    parser.add_argument(
        '--kv-pool',
        help="tokens or windows: how Next-ViT's keys and values were pooled in training (default: as in the published "
        'weights, tokens)',
    )
    return parser.parse_args()


@command_line
def main() -> None:
    settings = vars(parse_args())
    from mmtrtvit.weights.conversion import convert_weights

    convert_weights(**settings)


if __name__ == '__main__':
    sys.exit(main())
