#!/usr/bin/env python
"""Write the tables of README and docs, the metafiles and the plots from recorded rows and from the code."""

import argparse
import sys
from pathlib import Path

from mmtrtvit.errors import command_line


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='change nothing; exit status 1 when a file is out of date')
    return parser.parse_args()


@command_line
def main() -> int:
    args = parse_args()
    from mmtrtvit.benchmark.documents import update_documents

    stale = update_documents(Path(__file__).resolve().parents[1], check=args.check)
    for path in stale:
        print(f'{path}: {"out of date; run python tools/update_tables.py" if args.check else "written"}')
    if not stale:
        print('Everything is up to date.')
    return 1 if args.check and stale else 0


if __name__ == '__main__':
    sys.exit(main())
