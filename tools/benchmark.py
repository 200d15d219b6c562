#!/usr/bin/env python
"""Count and time backbones, or training iterations: tools/benchmark.py [training] [--archs a b c d] [--size ...] ..."""

import argparse
import sys
from pathlib import Path

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count parameters and multiply-accumulates of TRT-ViT backbones, and time them on the CPU in '
        'PyTorch and in ONNX Runtime, interleaved in one run. `%(prog)s training` times training iterations instead.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_common(parser, archs=['a', 'b', 'c', 'd'], size=224, batch=1)
    parser.set_defaults(what='backbones')
    training = parser.add_subparsers(title='instead of the backbones').add_parser(
        'training',
        help='time and memory of one training iteration of each method and size',
        description='Time one training iteration of each method and size and take its memory, plain, with gradient '
        'checkpointing, in mixed precision, and with both, each in a process of its own; on a GPU if there is one.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_common(training, archs=None, size=320, batch=2)
    training.add_argument('--family', default='trtvit', help='family of backbones')
    training.add_argument(
        '--methods', nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    )
    training.add_argument('--iterations', type=int, default=3, help='timed iterations of each')
    training.set_defaults(what='training', root=Path(__file__).resolve().parents[1])
    return parser.parse_args()


def _add_common(parser: argparse.ArgumentParser, archs: list[str] | None, size: int, batch: int) -> None:
    parser.add_argument('--archs', nargs='+', default=archs, metavar='ARCH', help='sizes of the backbone (None: all)')
    parser.add_argument('--size', type=int, default=size, help='height and width of the input, pixels')
    parser.add_argument('--batch', type=int, default=batch, help='images in the input')
    parser.add_argument('--out', default='work_dirs/bench', metavar='DIR', help='where rows, table and plots go')
    parser.add_argument('--threads', type=int, help='threads (None: as many as PyTorch takes)')


@command_line
def main() -> None:
    settings = vars(parse_args())
    from mmtrtvit.benchmark import benchmark_backbones, benchmark_training

    {'backbones': benchmark_backbones, 'training': benchmark_training}[settings.pop('what')](**settings)


if __name__ == '__main__':
    sys.exit(main())
