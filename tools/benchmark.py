#!/usr/bin/env python
"""Count, time and prove networks: tools/benchmark.py [comparison|deployment|training] [--archs a b] ..."""

import argparse
import sys
from pathlib import Path

from mmtrtvit.errors import command_line

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Count parameters and multiply-accumulates of TRT-ViT backbones, and time them on the CPU in '
        'PyTorch and in ONNX Runtime, interleaved in one run. `%(prog)s comparison` does it for all families in ONNX '
        'Runtime and OpenVINO; `%(prog)s deployment` proves artefacts of whole networks; `%(prog)s training` times '
        'training iterations.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(what='backbones')
    _add_common(parser, size=224, batch=1)
    others = parser.add_subparsers(title='instead of the backbones of TRT-ViT')
    comparison = others.add_parser(
        'comparison',
        help='the backbones of all families, in ONNX Runtime and OpenVINO',
        description='Count the backbones of all families and time them on the CPU in ONNX Runtime and in OpenVINO, '
        'interleaved in one run.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_common(comparison, size=224, batch=1, out='work_dirs/comparison')
    comparison.add_argument('--families', nargs='+', metavar='FAMILY', help='families (None: all)')
    comparison.add_argument(
        '--max-seconds', type=float, default=900, help='end the rounds after this time, but never before three'
    )
    comparison.set_defaults(what='comparison', root=ROOT)
    training = others.add_parser(
        'training',
        help='time and memory of one training iteration of each method and size',
        description='Time one training iteration of each method and size and take its memory, plain, with gradient '
        'checkpointing, in mixed precision, and with both, each in a process of its own; on a GPU if there is one.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_common(training, size=320, batch=2)
    training.add_argument('--family', default='trtvit', help='family of backbones')
    training.add_argument(
        '--methods', nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    )
    training.add_argument('--iterations', type=int, default=3, help='timed iterations of each')
    training.set_defaults(what='training', root=ROOT)
    deployment = others.add_parser(
        'deployment',
        help='the proof of each method and size in each backend and precision',
        description='Convert each method and size, untrained, compare each artefact with PyTorch on images of the test '
        'split, and time both. Rows are added to those that are there.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    deployment.add_argument('--out', default='work_dirs/deployment', metavar='DIR', help='where rows and table go')
    deployment.add_argument('--family', default='trtvit', help='family of backbones')
    deployment.add_argument('--archs', nargs='+', metavar='ARCH', help='sizes of the backbone (None: all)')
    deployment.add_argument(
        '--methods', nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    )
    deployment.add_argument(
        '--backends', nargs='+', default=['onnxruntime', 'openvino'], metavar='BACKEND', help='backends'
    )
    deployment.add_argument('--precisions', nargs='+', default=['fp32'], metavar='PRECISION', help='precisions')
    deployment.add_argument('--images', type=int, default=4, help='images to compare on')
    deployment.add_argument('--size', type=int, help='longer side of the images (None: as the config has it)')
    deployment.add_argument('--threads', type=int, help='threads of PyTorch (None: as many as it takes)')
    deployment.add_argument('--no-latency', dest='timed', action='store_false', help='do not time anything')
    deployment.set_defaults(what='deployment', root=ROOT)
    return parser.parse_args()


def _add_common(parser: argparse.ArgumentParser, size: int, batch: int, out: str = 'work_dirs/bench') -> None:
    parser.add_argument('--archs', nargs='+', metavar='ARCH', help='sizes of the backbone (None: all)')
    parser.add_argument('--size', type=int, default=size, help='height and width of the input, pixels')
    parser.add_argument('--batch', type=int, default=batch, help='images in the input')
    parser.add_argument('--out', default=out, metavar='DIR', help='where rows, table and plots go')
    parser.add_argument('--threads', type=int, help='threads (None: as many as PyTorch takes)')


@command_line
def main() -> None:
    settings = vars(parse_args())
    from mmtrtvit.benchmark.backbones import benchmark_backbones, benchmark_comparison
    from mmtrtvit.benchmark.deployment import benchmark_deployment
    from mmtrtvit.benchmark.training import benchmark_training

    benchmarks = dict(
        backbones=benchmark_backbones,
        comparison=benchmark_comparison,
        deployment=benchmark_deployment,
        training=benchmark_training,
    )
    what = settings.pop('what')
    if what == 'deployment':
        del settings['batch']  # of the backbones' options, which are there before the command is known
    benchmarks[what](**settings)


if __name__ == '__main__':
    sys.exit(main())
