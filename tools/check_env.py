"""Show what mmtrtvit needs, what of it is installed here, and the command that fixes the first thing wrong.

Works where nothing is installed at all: the package itself is not imported.
"""

import argparse
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path


def load_environment():
    """Load ``mmtrtvit/environment.py`` by its path, from a checkout or from ``mmtrtvit/.mim/tools``."""
    above = Path(__file__).absolute().parents
    places = (above[1] / 'mmtrtvit' / 'environment.py', above[2] / 'environment.py')
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        sys.exit(f'Error: {__file__} belongs to no mmtrtvit: there is neither {" nor ".join(map(str, places))}.')
    spec = importlib.util.spec_from_file_location('mmtrtvit_environment', str(path))
    environment = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = environment
    spec.loader.exec_module(environment)
    return environment


def main() -> int:
    """Print the table or JSON; exit status 1 when a required part is missing or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    options = parser.parse_args()
    environment = load_environment()
    reports = environment.inspect_environment()
    problem = environment.first_problem(reports)
    usable = problem is None or not problem.required
    if options.json:
        parts = [dataclasses.asdict(report) for report in reports]
        print(json.dumps({'usable': usable, 'stack': environment.stack(), 'parts': parts}, indent=2))
    else:
        environment.print_report(reports)
    return 0 if usable else 1


if __name__ == '__main__':
    sys.exit(main())
