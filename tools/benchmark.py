#!/usr/bin/env python
"""Count, time and prove networks: tools/benchmark.py [backbones|comparison|...] [--archs a b] ..."""

import argparse
import importlib
import sys
from pathlib import Path

from mmtrtvit.errors import command_line
from mmtrtvit.options import config_options

ROOT = Path(__file__).resolve().parents[1]

OPTIONS = {
    'config': dict(help='model config'),
    'checkpoint': dict(help='checkpoint of that model'),
    'work_dirs': dict(nargs='+', metavar='WORK_DIR', help='work dirs of tools/train.py'),
    'folder': dict(help='folder of tools/deploy.py'),
    'source': dict(help='images, as tools/predict.py takes them'),
    '--formats': dict(nargs='+', default=[], metavar='FORMAT', help='formats that are written, as in tools/predict.py'),
    '--out': dict(metavar='DIR', help='where the rows go'),
    '--family': dict(default='trtvit', help='family of backbones'),
    '--families': dict(nargs='+', metavar='FAMILY', help='families (None: all)'),
    '--archs': dict(nargs='+', metavar='ARCH', help='sizes of the backbone (None: all)'),
    '--methods': dict(
        nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    ),
    '--backends': dict(nargs='+', default=['onnxruntime', 'openvino'], metavar='BACKEND', help='backends'),
    '--precisions': dict(nargs='+', metavar='PRECISION', help='precisions (None: all of a backend)'),
    '--dynamic': dict(nargs=3, metavar=('MIN', 'OPT', 'MAX'), help='input sizes for TensorRT, each HxW'),
    '--size': dict(type=int, help='height and width of the input, pixels'),
    '--batch': dict(type=int, help='images in the input'),
    '--images': dict(type=int, help='images to compare on'),
    '--iterations': dict(type=int, default=3, help='timed iterations of each'),
    '--memory-images': dict(type=int, help='images for the peak memory (None: as many as --images)'),
    '--threads': dict(type=int, help='threads (None: as many as PyTorch takes)'),
    '--max-seconds': dict(type=float, help='end the rounds after this time, but never before three'),
    '--no-latency': dict(dest='timed', action='store_false', default=True, help='do not time anything'),
    '--cfg-options': dict(nargs='+', action=config_options(), metavar='KEY=VALUE', help='change the config'),
}
"""Every option; a command may change its settings."""

COMMANDS = {
    'backbones': dict(
        module='backbones',
        summary='the backbones of TRT-ViT, in PyTorch and ONNX Runtime',
        description='Count parameters and multiply-accumulates of TRT-ViT backbones, and time them on the CPU in '
        'PyTorch and in ONNX Runtime, interleaved in one run.',
        options={
            '--out': dict(default='work_dirs/bench'),
            '--archs': {},
            '--size': dict(default=224),
            '--batch': dict(default=1),
            '--threads': {},
        },
    ),
    'comparison': dict(
        module='backbones',
        summary='the backbones of all families, in ONNX Runtime and OpenVINO',
        description='Count the backbones of all families and time them on the CPU in ONNX Runtime and in OpenVINO, '
        'interleaved in one run.',
        options={
            '--out': dict(default='work_dirs/comparison'),
            '--families': {},
            '--archs': {},
            '--size': dict(default=224),
            '--batch': dict(default=1),
            '--threads': {},
            '--max-seconds': dict(default=900),
        },
    ),
    'training': dict(
        module='training',
        summary='time and memory of one training iteration of each method and size',
        description='Time one training iteration of each method and size and take its memory, plain, with gradient '
        'checkpointing, in mixed precision, and with both, each in a process of its own; on a GPU if there is one.',
        options={
            '--out': dict(default='work_dirs/bench'),
            '--family': {},
            '--archs': {},
            '--methods': {},
            '--size': dict(default=320),
            '--batch': dict(default=2),
            '--iterations': {},
            '--threads': {},
        },
        rooted=True,
    ),
    'deployment': dict(
        module='proofs',
        summary='the proof of each method and size in each backend and precision',
        description='Convert each method and size, untrained, compare each artefact with PyTorch on images of the '
        'test split, and time both. Rows are added to those that are there.',
        options={
            '--out': dict(default='work_dirs/deployment'),
            '--family': {},
            '--archs': {},
            '--methods': {},
            '--backends': {},
            '--precisions': dict(default=['fp32'], help='precisions'),
            '--size': dict(
                help='images are made to fit into a square of this many pixels (None: as the config has it)'
            ),
            '--images': dict(default=4),
            '--threads': {},
            '--no-latency': {},
        },
        rooted=True,
    ),
    'precisions': dict(
        module='proofs',
        summary='a trained network in every precision of each backend',
        description='Convert a trained checkpoint in each precision for each backend, and compare accuracy, size and '
        'latency with PyTorch on images of the test split. Rows are added to those that are there.',
        options={
            'config': {},
            'checkpoint': {},
            '--out': dict(default='work_dirs/precisions'),
            '--backends': {},
            '--precisions': {},
            '--dynamic': {},
            '--images': dict(default=80, help='images to compare and evaluate on'),
            '--threads': {},
            '--no-latency': {},
            '--cfg-options': {},
        },
    ),
    'prediction': dict(
        module='prediction',
        summary='a folder of images through tools/predict.py, beside the network alone',
        description='Time an artefact on images in memory, and the way from image files to pictures and tables, in '
        'turn. Rows are added to those that are there.',
        options={
            'folder': {},
            'source': {},
            '--out': dict(default='work_dirs/prediction'),
            '--formats': {},
            '--images': dict(default=80, help='images to predict on'),
            '--memory-images': {},
            '--no-latency': {},
            '--batch': dict(default=1),
            '--iterations': dict(default=5),
            '--threads': dict(help='CPU threads of the network (None: one for each core)'),
        },
    ),
    'runs': dict(
        module='runs',
        summary='the results of finished training runs',
        description='Read metrics and times of finished training runs from their work dirs.',
        options={'work_dirs': {}, '--out': dict(default='work_dirs/runs')},
    ),
}
"""Every command; ``benchmark_<name>`` of its module takes the options."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Measure networks. Without a command, `backbones` is meant: its options follow at once.'
    )
    commands = parser.add_subparsers(dest='what', title='what to measure', required=True)
    for name, about in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=about['summary'],
            description=about['description'],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        for option, changes in about['options'].items():
            command.add_argument(option, **{**OPTIONS[option], **changes})
        if about.get('rooted'):
            command.set_defaults(root=ROOT)
    words = sys.argv[1:]
    named = not {'-h', '--help', *COMMANDS}.isdisjoint(words[:1])
    return parser.parse_args(words if named else ['backbones', *words])


@command_line
def main() -> None:
    settings = vars(parse_args())
    name = settings.pop('what')
    module = importlib.import_module(f'mmtrtvit.benchmark.{COMMANDS[name]["module"]}')
    getattr(module, f'benchmark_{name}')(**settings)


if __name__ == '__main__':
    sys.exit(main())
