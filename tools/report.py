#!/usr/bin/env python
"""Show measured rows: tools/report.py ROWS.jsonl ... --out page.html|tables.md [--baseline FIELD=VALUE]"""

import argparse
import sys
from pathlib import Path

from mmtrtvit.errors import command_line

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Tables and plots of the rows that tools/benchmark.py measured.')
    parser.add_argument('rows', nargs='+', metavar='ROWS', help='files of rows (.jsonl)')
    parser.add_argument(
        '--out',
        required=True,
        metavar='FILE',
        help='.html: one page with a sortable table and interactive plots, which needs no network; .md: tables',
    )
    parser.add_argument(
        '--baseline',
        metavar='FIELD=VALUE',
        help='what the latencies are compared with: a name, or backend=..., mode=..., precision=...',
    )
    return parser.parse_args()


@command_line
def main() -> None:
    from mmtrtvit.report import write_report

    print(f'Report: {write_report(**vars(parse_args()), root=ROOT)}')


if __name__ == '__main__':
    sys.exit(main())
