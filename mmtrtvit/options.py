"""Options that several command lines have."""

import argparse


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
