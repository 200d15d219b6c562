"""Options that several command lines have."""

import argparse
from collections.abc import Mapping


def config_options() -> type[argparse.Action]:
    """mmengine's ``DictAction`` with a message for an option that is not KEY=VALUE."""
    from mmengine.config import DictAction

    class ConfigOptions(DictAction):
        def __call__(self, parser, namespace, values, option_string=None):
            wrong = [value for value in values if '=' not in value.lstrip('=')]
            if wrong:
                parser.error(f'{option_string} {wrong[0]}: expected KEY=VALUE, such as optim_wrapper.optimizer.lr=1e-4')
            super().__call__(parser, namespace, values, option_string)

    return ConfigOptions


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--variant`` (``variants``) and ``--cfg-options``: arguments of :func:`~mmtrtvit.config.load_config`.

    Args:
        parser: The command line.
        example: A variant that suits the command, for the help.
    """
    parser.add_argument(
        '--variant',
        nargs='+',
        default=[],
        dest='variants',
        metavar='NAME|FILE',
        help=f'change the config by configs/_base_/variants/NAME.py, such as {example}',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=config_options(), metavar='KEY=VALUE', help='change the config'
    )


MEASURING: dict[str, dict] = {
    '--threads': dict(type=int, help='threads (None: as many as PyTorch takes)'),
    '--device': dict(choices=['cpu', 'cuda'], help='preferred device (None: a GPU if there is one)'),
    '--busy-ok': dict(action='store_true', help='measure on a busy machine too; the rows say so'),
    '--min-runs': dict(type=int, default=30, help='runs of each that count, at least'),
    '--min-seconds': dict(type=float, default=3.0, help='their time, at least'),
    '--warmup-seconds': dict(type=float, default=1.0, help='time of the runs before, of each'),
    '--max-seconds': dict(type=float, default=1000.0, help='end of the whole run; unsteady rows are flagged'),
}
"""Options of every command that measures latency: arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`."""

INPUTS: dict[str, dict] = {
    '--batches': dict(nargs='+', type=int, default=[1], metavar='N', help='numbers of images in the input'),
    '--shapes': dict(
        nargs='+', default=['224'], metavar='SIZE', help='sizes of the input: 224, or 800x1344 (height x width)'
    ),
    '--backends': dict(
        nargs='+',
        default=['pytorch', 'onnxruntime', 'openvino'],
        metavar='BACKEND',
        help='pytorch, or names that tools/deploy.py --backend takes',
    ),
    '--modes': dict(
        nargs='+',
        default=['eager'],
        metavar='MODE',
        help='modes of PyTorch: eager, compiled, channels_last, graph (CUDA), or two joined: compiled+channels_last',
    ),
    '--precisions': dict(
        nargs='+',
        default=['fp32'],
        metavar='PRECISION',
        help='fp32, tf32, bf16, fp16, int8; each backend in those that it has',
    ),
}
"""Options of networks that are measured on several inputs, in several backends."""


def add_options(
    parser: argparse.ArgumentParser, known: Mapping[str, Mapping], chosen: Mapping[str, Mapping | None]
) -> None:
    """Add some of the options that several commands of a tool share.

    Args:
        parser: The command line.
        known: Option to arguments of ``add_argument``.
        chosen: Option to changes of those; None leaves it out.
    """
    for option, changes in chosen.items():
        if changes is not None:
            parser.add_argument(option, **{**known[option], **changes})


def add_commands(
    parser: argparse.ArgumentParser, title: str, commands: Mapping[str, Mapping], known: Mapping[str, Mapping]
) -> dict[str, argparse.ArgumentParser]:
    """Add the commands of a tool, whose choice is ``what`` of the parsed arguments.

    Args:
        parser: The command line.
        title: Their title in the help.
        commands: Name to ``summary``, ``description`` and ``options`` (see :func:`add_options`).
        known: Option to arguments of ``add_argument``.

    Returns:
        Name to the command line of each.
    """
    group = parser.add_subparsers(dest='what', title=title, required=True)
    found = {}
    for name, about in commands.items():
        found[name] = group.add_parser(
            name,
            help=about['summary'],
            description=about['description'],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        add_options(found[name], known, about['options'])
    return found
