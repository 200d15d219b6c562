#!/usr/bin/env python
"""Write the tables of README and docs, the metafiles and the plots from recorded rows and from the code."""

import argparse
import sys
from pathlib import Path

from mmtrtvit.errors import command_line

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--check', action='store_true', help='change nothing; exit status 1 when a file is out of date')
    group.add_argument('--rows', metavar='JSON', help='only write and print a page of this file of rows, beside it')
    return parser.parse_args()


@command_line
def main() -> int:
    args = parse_args()
    from pages.documents import page_of_rows, update_documents

    if args.rows:
        page = page_of_rows(ROOT, args.rows)
        print(page.read_text(encoding='utf-8'))
        print(f'Page: {page}')
        return 0
    stale = update_documents(ROOT, check=args.check)
    for path in stale:
        print(f'{path}: {"out of date; run python tools/dev/update_pages.py" if args.check else "written"}')
    if not stale:
        print('Everything is up to date.')
    return 1 if args.check and stale else 0


if __name__ == '__main__':
    sys.exit(main())
