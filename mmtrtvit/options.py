"""Options that several command lines have."""

import argparse


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--variant`` (``variants``) and ``--cfg-options``: arguments of :func:`~mmtrtvit.config.load_config`.

    Args:
        parser: The command line.
        example: A variant that suits the command, for the help.
    """
    from mmengine.config import DictAction

    parser.add_argument(
        '--variant',
        nargs='+',
        default=[],
        dest='variants',
        metavar='NAME|FILE',
        help=f'change the config by configs/_base_/variants/NAME.py, such as {example}',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='change the config')
