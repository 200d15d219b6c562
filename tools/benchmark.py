#!/usr/bin/env python
"""Count and time the TRT-ViT backbones: tools/benchmark.py [--archs a b c d] [--size 224] [--batch 1] ..."""

import argparse
import sys

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count parameters and multiply-accumulates of TRT-ViT backbones, and time them on the CPU in '
        'PyTorch and in ONNX Runtime, interleaved in one run.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--archs', nargs='+', default=['a', 'b', 'c', 'd'], metavar='ARCH', help='sizes of TRT-ViT')
    parser.add_argument('--size', type=int, default=224, help='height and width of the input, pixels')
    parser.add_argument('--batch', type=int, default=1, help='images in the input')
    parser.add_argument('--out', default='work_dirs/bench', metavar='DIR', help='where rows, table and plots go')
    parser.add_argument('--threads', type=int, help='threads of both runtimes (None: as many as PyTorch takes)')
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    from mmtrtvit.benchmark import benchmark_backbones

    benchmark_backbones(**vars(args))


if __name__ == '__main__':
    sys.exit(main())
