"""Tables of the study: ``study.jsonl`` and ``study_accuracy.json``, the rows of tools/study.py."""

from collections.abc import Mapping

from mmtrtvit.study.guidelines import by_recipe, runs_of
from mmtrtvit.study.tables import COUNTED, accuracy_table, block_table, guideline_table, network_table, recipe_note

from .render import conditions


def blocks_table(result: Mapping) -> str:
    """The blocks at every feature size."""
    runs = runs_of(result['rows'], 'block')
    return f'{block_table(runs[0])}\n\n{COUNTED} {conditions(runs[0])}' if runs else ''


def networks_table(result: Mapping, study: str) -> str:
    """The networks of a study."""
    runs = runs_of(result['rows'], 'backbone')
    text = network_table(runs[0], study) if runs else ''
    return f'{text}\n\n{conditions(runs[0])}' if text else ''


def trained_table(result: Mapping) -> str:
    """Accuracy of the networks, for each recipe."""
    parts = []
    for runs in by_recipe(result['rows']):
        first = next(iter(runs.values()))[0]
        threads = f'{first["threads"]} thread{"s" * (first["threads"] > 1)}'
        where = f'*Measured* on {first["machine"]["processor"]}, {threads}, torch {first["versions"]["torch"]}.'
        parts += [accuracy_table(runs), f'{recipe_note(first)} {where}']
    return '\n\n'.join(parts)


def guidelines_table(result: Mapping, accuracy: Mapping | None) -> str:
    """The guidelines held against the rows."""
    return guideline_table(result['rows'], accuracy['rows'] if accuracy else ())
