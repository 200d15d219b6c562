"""Examine the data of a config: faults of the annotations, class balance, sizes against anchors, copies, leakage."""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from mmtrtvit.config import load_config
from mmtrtvit.datasets.doctor import Diagnosis, examine
from mmtrtvit.errors import command_line
from mmtrtvit.options import add_config_options

COLOURS = {'error': 'red', 'warning': 'yellow', 'note': 'cyan'}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='Exit status: 0 without errors, 1 with errors, 2 for a config that cannot be read.'
    )
    parser.add_argument('config', help='a config')
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    add_config_options(parser, 'layer-decay')
    return parser.parse_args()


def show(diagnosis: Diagnosis) -> None:
    """Print counts and findings."""
    console = Console(soft_wrap=True)
    if diagnosis.counts:
        table = Table('class', *diagnosis.counts)
        for name in dict.fromkeys(name for counts in diagnosis.counts.values() for name in counts):
            table.add_row(name, *(str(counts.get(name, 0)) for counts in diagnosis.counts.values()))
        console.print(table)
    if diagnosis.sizes:
        sizes = ', '.join(f'{share} %: {size:g}' for share, size in diagnosis.sizes.items())
        console.print(f'Size of the training objects at the input, pixels (percentiles): {sizes}')
    for finding in diagnosis.findings:
        console.print(f'{finding.severity}: {finding.message}', style=COLOURS[finding.severity], markup=False)
        for title, text in (('Expected', finding.expected), ('Fix', finding.fix)):
            if text:
                console.print(f'  {title}: {text}', markup=False)
    console.print('No error was found.' if diagnosis.healthy else 'The data has errors.')


@command_line
def main() -> int:
    """Examine and print."""
    args = parse_args()
    diagnosis = examine(load_config(args.config, args.cfg_options, args.variants), progress=not args.json)
    if args.json:
        print(json.dumps(diagnosis.to_dict(), indent=2))
    else:
        show(diagnosis)
    return 0 if diagnosis.healthy else 1


if __name__ == '__main__':
    sys.exit(main())
