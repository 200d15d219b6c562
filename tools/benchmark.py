#!/usr/bin/env python
"""Measure and prove networks: tools/benchmark.py suite|backbone|network|engine|end-to-end|... [options]"""

import argparse
import importlib
import sys
from pathlib import Path

from mmtrtvit.errors import command_line
from mmtrtvit.options import INPUTS, MEASURING, add_commands, config_options

ROOT = Path(__file__).resolve().parents[1]

OPTIONS = {
    **MEASURING,
    **INPUTS,
    'config': dict(help='model config'),
    'checkpoint': dict(help='checkpoint of that model'),
    'work_dirs': dict(nargs='+', metavar='WORK_DIR', help='work dirs of tools/train.py'),
    'folder': dict(help='folder of tools/deploy.py'),
    'folders': dict(nargs='+', metavar='DIR', help='folders of tools/deploy.py'),
    'files': dict(nargs='+', metavar='FILE', help='ONNX files'),
    'configs': dict(nargs='+', metavar='CONFIG', help='model configs'),
    'source': dict(help='images, as tools/predict.py takes them'),
    '--formats': dict(nargs='+', default=[], metavar='FORMAT', help='formats that are written, as in tools/predict.py'),
    '--out': dict(metavar='DIR', help='where the rows go'),
    '--family': dict(default='trtvit', help='family of backbones'),
    '--families': dict(nargs='+', metavar='FAMILY', help='families (None: all, or none if other networks are named)'),
    '--archs': dict(nargs='+', metavar='ARCH', help='sizes of the backbone (None: all)'),
    '--configs': dict(nargs='+', default=[], metavar='CONFIG', help='configs of mmdet or mmseg: their backbones'),
    '--timm': dict(nargs='+', default=[], metavar='MODEL', help="timm's models, if timm is installed"),
    '--folders': dict(nargs='+', default=[], metavar='DIR', help='artefacts of tools/deploy.py to measure as well'),
    '--methods': dict(
        nargs='+', default=['maskrcnn', 'retinanet', 'semfpn', 'upernet'], metavar='METHOD', help='methods'
    ),
    '--backends': dict(nargs='+', default=['onnxruntime', 'openvino'], metavar='BACKEND', help='backends'),
    '--precisions': dict(nargs='+', metavar='PRECISION', help='precisions (None: all of a backend)'),
    '--shapes': dict(nargs='+', metavar='SIZE', help='sizes of the input: 224, or 800x1344 (height x width)'),
    '--image': dict(metavar='FILE', help='the image (None: random pixels)'),
    '--graph': dict(action='store_true', help='replay a CUDA graph (TensorRT)'),
    '--profiler': dict(action='store_true', help="time it by mmdeploy's wrapper and counter as well, on the image"),
    '--dynamic': dict(nargs=3, metavar=('MIN', 'OPT', 'MAX'), help='input sizes for TensorRT, each HxW'),
    '--size': dict(type=int, help='height and width of the input, pixels'),
    '--batch': dict(type=int, help='images in the input'),
    '--images': dict(type=int, help='images to compare on'),
    '--iterations': dict(type=int, default=3, help='timed iterations of each'),
    '--memory-images': dict(type=int, help='images for the peak memory (None: as many as --images)'),
    '--variants': dict(
        nargs='+',
        default=['plain', 'checkpointing', 'AMP', 'AMP, checkpointing'],
        metavar='NAME',
        help="what is compared: plain, checkpointing, AMP, 'AMP, checkpointing', 'channels last'",
    ),
    '--beside': dict(nargs='+', default=[], metavar='CONFIG', help='other configs, measured plain in the same runs'),
    '--streams': dict(
        nargs='+', type=int, default=[1], metavar='N', help='images that the network works on at the same time'
    ),
    '--parts': dict(action='store_true', help='profile the parts of the network as well (ONNX Runtime, OpenVINO)'),
    '--no-latency': dict(dest='timed', action='store_false', default=True, help='do not time anything'),
    '--cfg-options': dict(nargs='+', action=config_options(), metavar='KEY=VALUE', help='change the config'),
}
"""Every option; a command may change its settings."""

HOW = {
    '--out': dict(default='work_dirs/benchmark'),
    **MEASURING,
}
"""Options of every command that measures latency: how it does."""

COMMANDS = {
    'suite': dict(
        module='suite',
        summary='everything that the tables of the documentation show (make bench)',
        description='Measure all families of backbones in PyTorch, ONNX Runtime and OpenVINO, TRT-ViT in every '
        'precision, larger batches and images, and how cost grows. Loading comes on top of '
        '--max-seconds: about 18 minutes on 2 cores in all.',
        options={**HOW, '--min-runs': dict(default=15), '--timm': {}, '--folders': {}, '--image': {}, '--profiler': {}},
    ),
    'backbone': dict(
        module='speed',
        summary='backbones: ours, those of configs, and those of timm',
        description='Measure backbones in turn, in every backend, mode and precision that is named.',
        options={'--families': {}, '--archs': {}, '--configs': {}, '--timm': {}, '--parts': {}, **INPUTS, **HOW},
    ),
    'network': dict(
        module='speed',
        summary='whole networks of configs in PyTorch',
        description='Measure detectors and segmentors in PyTorch, from the normalised input to results in its pixels.',
        options={
            'configs': {},
            '--batches': {},
            '--shapes': dict(default=['800x1344']),
            '--modes': {},
            '--precisions': dict(default=['fp32'], help='fp32, tf32, bf16, fp16'),
            **HOW,
        },
    ),
    'engine': dict(
        module='speed',
        summary='the engines of artefacts, called by themselves',
        description="Measure the engine of an artefact by itself, as mmdeploy's tools/profiler.py does for its own: "
        'without pre- and post-processing; on a GPU without the copies, which are measured beside it.',
        options={
            'folders': {},
            '--image': {},
            '--size': dict(type=str, default='800x1333', help='size of the random pixels'),
            '--shapes': dict(default=[], help='sizes of random inputs instead of an image'),
            '--batches': {},
            '--graph': {},
            '--profiler': {},
            '--parts': {},
            '--beside': dict(
                metavar='FILE', help="other ONNX files of the network, such as mmdeploy's own export, on the same input"
            ),
            **HOW,
        },
    ),
    'end-to-end': dict(
        module='speed',
        summary='artefacts as users run them: load(folder)(image)',
        description='Measure load(folder)(image) with its parts: decoding, preprocessing, network, postprocessing.',
        options={
            'folders': {},
            '--image': {},
            '--size': dict(type=str, default='800x1333', help='size of the random pixels'),
            **HOW,
        },
    ),
    'onnx': dict(
        module='speed',
        summary='ONNX files',
        description='Measure ONNX files with one image input.',
        options={
            'files': {},
            **INPUTS,
            **HOW,
            '--modes': None,
            '--backends': dict(help='names that tools/deploy.py --backend takes'),
        },
    ),
    'growth': dict(
        module='growth',
        summary='how latency and memory grow with batch, resolution and the size of the network',
        description='Measure one family at growing batches, resolutions and sizes. The report fits exponents.',
        options={
            '--family': {},
            '--backends': dict(default=['openvino'], help='pytorch, or names that tools/deploy.py --backend takes'),
            **HOW,
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
            '--variants': {},
            '--beside': {},
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
            '--streams': {},
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
    parser = argparse.ArgumentParser(description='Measure networks.')
    for name, command in add_commands(parser, 'what to measure', COMMANDS, OPTIONS).items():
        if COMMANDS[name].get('rooted'):
            command.set_defaults(root=ROOT)
    return parser.parse_args()


@command_line
def main() -> None:
    settings = vars(parse_args())
    name = settings.pop('what')
    module = importlib.import_module(f'mmtrtvit.benchmark.{COMMANDS[name]["module"]}')
    getattr(module, f'benchmark_{name.replace("-", "_")}')(**settings)


if __name__ == '__main__':
    sys.exit(main())
