#!/usr/bin/env python
"""The paper's study on this machine: tools/study.py blocks|networks|train|guidelines|modules [options]"""

import argparse
import importlib
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.options import INPUTS, MEASURING, add_commands, config_options

OPTIONS = {
    **MEASURING,
    **INPUTS,
    'config': dict(help='config of mmdet or mmseg'),
    'data': dict(help='folder with train/ and val/, each with a folder of images for each class'),
    'rows': dict(nargs='+', metavar='ROWS', help='files of rows (.jsonl)'),
    '--out': dict(metavar='DIR', default='work_dirs/study', help='where results go'),
    '--blocks': dict(
        nargs='+',
        metavar='BLOCK',
        default=['BottleNeck', 'Transformer', 'MixBlockA', 'MixBlockB', 'MixBlockC'],
        help='blocks',
    ),
    '--studies': dict(
        nargs='+',
        metavar='STUDY',
        default=['networks', 'placement', 'shrink'],
        help='what is compared: networks of the paper, placement of mixed blocks, shrink ratio',
    ),
    '--networks': dict(
        nargs='+',
        metavar='NAME',
        default=['ResNet', 'MixNetV', 'Refined-ResNet', 'Refined-MixNetV', 'MixNetA', 'MixNetB', 'MixNetC'],
        help='networks',
    ),
    '--seeds': dict(nargs='+', type=int, default=[0, 1, 2], metavar='SEED', help='runs of each network'),
    '--size': dict(type=int, default=96, help='height and width of the input, pixels'),
    '--width': dict(type=float, default=0.25, help='factor of all channels'),
    '--epochs': dict(type=int, default=30, help='epochs of each run'),
    '--batch': dict(type=int, default=16, help='images in an iteration'),
    '--lr': dict(type=float, default=1e-3, help='learning rate'),
    '--accuracy': dict(metavar='FILE', help='study_accuracy.json of the training'),
    '--checkpoint': dict(metavar='FILE', help='weights (None: initial ones)'),
    '--image': dict(metavar='FILE', help='the image (None: random pixels)'),
    '--cfg-options': dict(nargs='+', action=config_options(), metavar='KEY=VALUE', help='change the config'),
}
"""Every option; a command may change its settings."""

HOW = {'--out': {}, **dict.fromkeys(MEASURING, {})}
"""Options of every command that measures latency."""

COMMANDS = {
    'blocks': dict(
        function='blocks.study_blocks',
        summary='the five blocks at the four feature sizes of ResNet',
        description='Measure BottleNeck, Transformer and MixBlockA to C at the feature sizes of ResNet.',
        options={'--blocks': {}, **dict.fromkeys(INPUTS, {}), '--shapes': None, **HOW},
    ),
    'networks': dict(
        function='networks.study_networks',
        summary="the paper's networks, the placement of mixed blocks, and the shrink ratio",
        description='Measure networks that differ in one setting at a time.',
        options={'--studies': {}, **dict.fromkeys(INPUTS, {}), **HOW},
    ),
    'train': dict(
        function='training.study_training',
        summary='the accuracy of the networks, from scratch on photographs of your own',
        description='Train networks from scratch under one small recipe, with several seeds. Runs that have a row are '
        'not run again, so the same command goes on after an interruption.',
        options={
            'data': {},
            **dict.fromkeys(('--networks', '--seeds', '--size', '--width', '--epochs', '--batch', '--lr', '--out'), {}),
            '--threads': dict(help='threads of PyTorch (None: its own choice)'),
        },
    ),
    'guidelines': dict(
        function='page.study_guidelines',
        summary='all tables, the plot, and whether the rows support the four guidelines',
        description='Hold the four guidelines against measured rows, and write study.md and study.png.',
        options={'rows': {}, '--accuracy': {}, '--out': {}},
    ),
    'modules': dict(
        function='modules.study_modules',
        summary='your own detector or segmentor, block by block',
        description='Measure the blocks of a detector or segmentor of mmdet or mmseg in PyTorch, and name the slowest '
        'and the least efficient ones.',
        options={
            'config': {},
            '--checkpoint': {},
            '--image': {},
            '--size': dict(type=str, default='800x1333', help='size of the random pixels'),
            '--cfg-options': {},
            **HOW,
        },
    ),
}
"""Every command, and the function of ``mmtrtvit.study`` that takes its options."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The paper's study, with the project's own tools.")
    add_commands(parser, 'what to study', COMMANDS, OPTIONS)
    return parser.parse_args()


@command_line
def main() -> None:
    settings = vars(parse_args())
    module, function = COMMANDS[settings.pop('what')]['function'].split('.')
    getattr(importlib.import_module(f'mmtrtvit.study.{module}'), function)(**settings)


if __name__ == '__main__':
    sys.exit(main())
