#!/usr/bin/env python
"""Count, time and prove networks: tools/benchmark.py [backbones|comparison|...] [--archs a b] ..."""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmtrtvit.errors import command_line

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Measure networks. Without a command, `backbones` is meant: its options follow at once.'
    )
    commands = parser.add_subparsers(dest='what', title='what to measure', required=True)
    backbones = _command(
        commands,
        'backbones',
        'the backbones of TRT-ViT, in PyTorch and ONNX Runtime',
        'Count parameters and multiply-accumulates of TRT-ViT backbones, and time them on the CPU in PyTorch and in '
        'ONNX Runtime, interleaved in one run.',
    )
    _add_common(backbones, size=224, batch=1)
    comparison = _command(
        commands,
        'comparison',
        'the backbones of all families, in ONNX Runtime and OpenVINO',
        'Count the backbones of all families and time them on the CPU in ONNX Runtime and in OpenVINO, interleaved in '
        'one run.',
    )
    _add_common(comparison, size=224, batch=1, out='work_dirs/comparison')
    comparison.add_argument('--families', nargs='+', metavar='FAMILY', help='families (None: all)')
    comparison.add_argument(
        '--max-seconds', type=float, default=900, help='end the rounds after this time, but never before three'
    )
    comparison.set_defaults(root=ROOT)
    training = _command(
        commands,
        'training',
        'time and memory of one training iteration of each method and size',
        'Time one training iteration of each method and size and take its memory, plain, with gradient checkpointing, '
        'in mixed precision, and with both, each in a process of its own; on a GPU if there is one.',
    )
    _add_common(training, size=320, batch=2)
    training.add_argument('--family', default='trtvit', help='family of backbones')
    training.add_argument(
        '--methods', nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    )
    training.add_argument('--iterations', type=int, default=3, help='timed iterations of each')
    training.set_defaults(root=ROOT)
    deployment = _command(
        commands,
        'deployment',
        'the proof of each method and size in each backend and precision',
        'Convert each method and size, untrained, compare each artefact with PyTorch on images of the test split, and '
        'time both. Rows are added to those that are there.',
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
    deployment.set_defaults(root=ROOT)
    exports = _command(
        commands,
        'exports',
        "the plain export of mmdeploy against this package's, in ONNX Runtime and OpenVINO",
        'Export each method and size, untrained, by mmdeploy alone and by this package; count the nodes, compare what '
        'each finds with PyTorch on images of the test split, and time those of a network, interleaved in one run.',
    )
    exports.add_argument('--out', default='work_dirs/exports', metavar='DIR', help='where rows and table go')
    exports.add_argument('--family', default='trtvit', help='family of backbones')
    exports.add_argument('--archs', nargs='+', metavar='ARCH', help='sizes of the backbone (None: the first)')
    exports.add_argument(
        '--methods', nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    )
    exports.add_argument('--images', type=int, default=4, help='images to compare on; the first is traced and timed')
    exports.add_argument('--size', type=int, default=320, help='longer side of the images')
    exports.add_argument('--threads', type=int, help='threads (None: as many as PyTorch takes)')
    exports.add_argument(
        '--max-seconds', type=float, default=300, help='end the rounds of a network after this time, but never before 3'
    )
    exports.set_defaults(root=ROOT)
    precisions = _command(
        commands,
        'precisions',
        'a trained network in every precision of each backend',
        'Convert a trained checkpoint in each precision for each backend, and compare accuracy, size and latency with '
        'PyTorch on images of the test split. Rows are added to those that are there.',
    )
    precisions.add_argument('config', help='model config')
    precisions.add_argument('checkpoint', help='checkpoint of that model')
    precisions.add_argument('--out', default='work_dirs/precisions', metavar='DIR', help='where rows and table go')
    precisions.add_argument(
        '--backends', nargs='+', default=['onnxruntime', 'openvino'], metavar='BACKEND', help='backends'
    )
    precisions.add_argument('--precisions', nargs='+', metavar='PRECISION', help='precisions (None: all of a backend)')
    precisions.add_argument(
        '--dynamic', nargs=3, metavar=('MIN', 'OPT', 'MAX'), help='input sizes for TensorRT, each HxW'
    )
    precisions.add_argument('--images', type=int, default=80, help='images to compare and evaluate on')
    precisions.add_argument('--threads', type=int, help='threads of PyTorch (None: as many as it takes)')
    precisions.add_argument('--no-latency', dest='timed', action='store_false', help='do not time anything')
    precisions.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config'
    )
    runs = _command(
        commands,
        'runs',
        'what finished training runs reached',
        'Read the work dirs of finished training runs, and put their metrics and times side by side.',
    )
    runs.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work dirs of tools/train.py')
    runs.add_argument('--out', default='work_dirs/runs', metavar='DIR', help='where rows and table go')
    words = sys.argv[1:]
    named = not {'-h', '--help', *commands.choices}.isdisjoint(words[:1])
    return parser.parse_args(words if named else ['backbones', *words])


def _command(commands: argparse.Action, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )


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
    from mmtrtvit.benchmark.exports import benchmark_exports
    from mmtrtvit.benchmark.precisions import benchmark_precisions
    from mmtrtvit.benchmark.runs import benchmark_runs
    from mmtrtvit.benchmark.training import benchmark_training

    benchmarks = dict(
        backbones=benchmark_backbones,
        comparison=benchmark_comparison,
        deployment=benchmark_deployment,
        exports=benchmark_exports,
        precisions=benchmark_precisions,
        runs=benchmark_runs,
        training=benchmark_training,
    )
    benchmarks[settings.pop('what')](**settings)


if __name__ == '__main__':
    sys.exit(main())
