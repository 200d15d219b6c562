#!/usr/bin/env python
"""Graphs, measurements and rows that validate tools/predict_latency.py; for the environment of make reference."""

import argparse
import sys
from pathlib import Path

from mmtrtvit.errors import command_line

ROOT = Path(__file__).resolve().parents[2]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--folder', default='work_dirs/roofline', help='where graphs are kept (default: %(default)s)')
    parser.add_argument(
        'step',
        choices=['export', 'measure', 'graphs', 'predict'],
        help='export: networks with weights. measure: their latency on this CPU. graphs: graphs of all networks of the '
        'validation. predict: calibrate, predict and write the rows',
    )
    return parser.parse_args()


@command_line
def main() -> None:
    args = parse_args()
    folder = Path(args.folder)
    results = ROOT / 'docs/results'
    if args.step in ('export', 'measure'):
        from validation.measure import export_networks, measure_networks

        if args.step == 'export':
            export_networks(folder / 'networks')
        else:
            measure_networks(folder / 'networks', results / 'roofline_cpu.json')
    else:
        from validation.study import export_graphs, predict_networks

        export_graphs(folder / 'graphs', results) if args.step == 'graphs' else predict_networks(
            folder / 'graphs', results
        )


if __name__ == '__main__':
    sys.exit(main())
