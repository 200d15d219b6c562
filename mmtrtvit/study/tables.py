"""Tables of the study in Markdown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..markdown import table
from .blocks import BLOCKS, STAGES
from .guidelines import GUIDELINES, QUANTITIES, Figure, accuracy_of, by_recipe, cases_of, findings, runs_of, tera
from .networks import NETWORKS, STUDIES

TITLES = {
    'networks': 'Networks of the paper',
    'placement': 'Stages with mixed blocks',
    'shrink': 'Shrink ratio',
}
"""Titles of :data:`~mmtrtvit.study.networks.STUDIES`."""

COUNTED = (
    'TeraFLOPS: 10^12 multiply-accumulates a second; TeraParams: 10^12 parameters a second. Both are a count over the '
    'median latency. A multiply-accumulate is one operation, as in the FLOPs of the paper.'
)
"""The note below tables of blocks."""


def _time(row: Mapping) -> str:
    return f'{row["p50_ms"]:.2f} / {row["p90_ms"]:.2f}{"" if row["steady"] else " (u)"}'


def _share(row: Mapping) -> str:
    return f'{row["limit"]["share"]:.0%}' if row['limit'] else ''


def block_table(run: Sequence[Mapping]) -> str:
    """Blocks at every feature size.

    Args:
        run: Rows of blocks that were measured in turn; see :func:`~mmtrtvit.study.guidelines.runs_of`.
    """
    cases, cells = cases_of(run), []
    for stage, (channels, side) in enumerate(STAGES, start=1):
        for name in BLOCKS:
            rows = {case: named.get(f'{name}, stage {stage}') for case, named in cases.items()}
            first = next(filter(None, rows.values()), None)
            if first is None:
                continue
            line = [name, stage, f'{channels} x {side} x {side}', f'{first["params"] / 1e6:.2f}']
            line.append(f'{first["macs"] / 1e9:.3f}')
            for row in rows.values():
                densities = [f'{tera(row, count):.3g}' for count in ('macs', 'params')] if row else ['', '']
                line += [_time(row) if row else '', *densities]
            cells.append(line)
    header = ['block', 'stage', 'map', 'params M', 'MACs G']
    for case in cases:
        header += [f'{case}: p50 / p90 ms', 'TeraFLOPS', 'TeraParams']
    return table(header, cells)


def network_table(run: Sequence[Mapping], study: str) -> str:
    """Networks of a study.

    Args:
        run: Rows of networks that were measured in turn.
        study: A key of :data:`~mmtrtvit.study.networks.STUDIES`.

    Returns:
        The table; empty if the rows have none of the networks.
    """
    cases, cells = cases_of(run), []
    for name in STUDIES[study]:
        rows = {case: named.get(name) for case, named in cases.items()}
        first = next(filter(None, rows.values()), None)
        if first is not None:
            line = [*_settings(name, first['extra']['study']), f'{first["params"] / 1e6:.1f}']
            line.append(f'{first["macs"] / 1e9:.2f}')
            for row in rows.values():
                line += [_time(row), _share(row)] if row else ['', '']
            cells.append(line)
    header = ['network', 'blocks', 'depths', 'R', 'params M', 'MACs G']
    for case in cases:
        header += [f'{case}: p50 / p90 ms', 'of the limit']
    return table(header, cells) if cells else ''


def _settings(name: str, about: Mapping) -> list[Any]:
    mixed = set(about['types']) & set('ABM')
    return [name, about['types'], ' '.join(map(str, about['depths'])), about['shrink_ratio'] if mixed else '']


def accuracy_table(runs: Mapping[str, Sequence[Mapping]]) -> str:
    """Accuracy of networks under one recipe.

    Args:
        runs: Finished runs of each network; see :func:`~mmtrtvit.study.guidelines.by_recipe`.
    """
    cells = []
    for name in sorted(runs, key=list(NETWORKS).index):
        rows = sorted(runs[name], key=lambda row: row['seed'])
        figure = accuracy_of(rows)
        cells.append(
            [
                *_settings(name, rows[0]),
                f'{rows[0]["params"] / 1e6:.2f}',
                f'{rows[0]["macs"] / 1e6:.0f}',
                ', '.join(f'{row["top1"]:.1f}' for row in rows),
                _with_spread(figure, '{:.1f}'),
                f'{sum(row["train_top1"] for row in rows) / len(rows):.1f}',
                f'{sum(row["seconds"] for row in rows) / len(rows):.0f}',
            ]
        )
    header = ['network', 'blocks', 'depths', 'R', 'params M', 'MACs M', 'top-1 of each seed, %', 'mean, %']
    return table([*header, 'on training images, %', 'seconds'], cells)


def _with_spread(figure: Figure, text: str) -> str:
    spread = f'+- {text.format(figure.spread)}' if math.isfinite(figure.spread) else '(one run)'
    return f'{text.format(figure.value)} {spread}'


def guideline_table(rows: Iterable[Mapping], accuracy: Iterable[Mapping] = ()) -> str:
    """Every claim of the guidelines with the two figures and the verdict.

    Args:
        rows: Measured rows of blocks and networks.
        accuracy: Rows of the training.

    Returns:
        The table; empty if no claim has both of its subjects.
    """
    cells = []
    for finding in findings(rows, accuracy):
        claim = finding.claim
        plain = len(claim.less) == 1
        title, text = QUANTITIES[claim.quantity].title, QUANTITIES[claim.quantity].text if plain else '{:.3f}'
        figures = [
            f'{" / ".join(names)}: {_with_spread(figure, text)}'
            for names, figure in ((claim.less, finding.less), (claim.more, finding.more))
        ]
        within = f' (within {claim.slack - 1:.0%})' if claim.slack != 1 else ''
        compared = _with_spread(finding.compared, '{:.1f}' if claim.quantity == 'top1' else '{:.3g}')
        line = [f'{claim.guideline}. {claim.text}{within}', finding.where, title, *figures, compared, finding.verdict]
        cells.append(line)
    header = ['claim', 'where', 'quantity', 'said to be less', 'said to be more', 'less over more', 'verdict']
    return table(header, cells, numbers=False) if cells else ''


def study_page(rows: Sequence[Mapping], accuracy: Sequence[Mapping] = ()) -> str:
    """All tables of the study.

    Args:
        rows: Measured rows of blocks and networks.
        accuracy: Rows of the training.
    """
    parts = ['# The study of TRT-ViT, measured']
    for run in runs_of(rows, 'block'):
        parts += [f'## Blocks, batch {run[0]["batch"]}', block_table(run), COUNTED]
    for run in runs_of(rows, 'backbone'):
        size = 'x'.join(map(str, run[0]['shape']))
        parts += [
            part
            for study, title in TITLES.items()
            if (found := network_table(run, study))
            for part in (f'## {title}, {size}', found)
        ]
    for runs in by_recipe(accuracy):
        first = next(iter(runs.values()))[0]
        parts += [f'## Accuracy from scratch, {first["data"]}', accuracy_table(runs), recipe_note(first)]
    if claims := guideline_table(rows, accuracy):
        statements = [f'{number}. {text}' for number, text in GUIDELINES.items()]
        parts += ['## Guidelines', '\n'.join(statements), claims]
    return '\n\n'.join(parts) + '\n'


def recipe_note(row: Mapping) -> str:
    """The recipe of a run of the training in words."""
    recipe = row['recipe']
    return (
        f'From scratch on {row["train_images"]} photographs of {len(row["classes"])} classes, judged once, at the end, '
        f'on {row["val_images"]} others; guessing the most frequent class gives {row["guess"]:.1f} %. Channels '
        f'x {recipe["width"]:g}, {recipe["size"]} x {recipe["size"]} pixels, {recipe["epochs"]} epochs in batches of '
        f'{recipe["batch"]}, AdamW {recipe["lr"]:g}. The mean is given with half of its 95 % interval over the seeds.'
    )
