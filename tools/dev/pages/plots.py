"""Pictures of measured rows."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmtrtvit.atomic import atomic_file
from mmtrtvit.study.guidelines import runs_of
from mmtrtvit.study.plot import block_figure
from mmtrtvit.zoo.methods import METHODS

_PART_COLOURS = ('#9aa5b1', '#bfd7ea', '#7fb2d6', '#3d82b8', '#c8553d')
_SOURCE = 'Source'
"""The text chunk of a PNG that holds the digest of its rows."""


def digest_of(result: Mapping) -> str:
    """SHA-256 of rows, as a picture carries it."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def drawn_from(path: str | os.PathLike) -> str | None:
    """The digest of the rows that a picture was drawn from; ``None`` if the picture is missing or has none."""
    from PIL import Image

    if not Path(path).is_file():
        return None
    with Image.open(path) as picture:
        return picture.info.get(_SOURCE)


def _figure(columns: int, width: float, height: float, rows: int = 1):
    # Figure without pyplot: no window system is asked for and the caller's figures are left alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _save(figure, path: str | os.PathLike, result: Mapping) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={_SOURCE: digest_of(result)})


def draw_pretraining(result: Mapping, path: str | os.PathLike) -> None:
    """Draw validation figures over epochs: the classifier beside guessing, the detector with and without its backbone.

    Args:
        result: Content of ``pretraining.json``.
        path: The PNG file to write.
    """
    figure, axes = _figure(2, 9, 3.4)
    for row in result['rows']:
        classifier = 'guess' in row
        axis, ending, scale = (axes[0], 'top1', 1) if classifier else (axes[1], 'bbox_mAP', 100)
        points = [
            (point['step'], scale * value)
            for point in row['curve']
            for name, value in point.items()
            if name.endswith(ending)
        ]
        axis.plot(*zip(*points, strict=True), marker='o', markersize=4, label=row['title'])
        axis.set_ylabel('top-1, %' if classifier else 'box AP, %')
        axis.set_xlabel('epoch')
        if classifier:
            axis.axhline(row['guess'], color='grey', linestyle='--', label='always the most frequent class')
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8, loc='lower right')
    _save(figure, path, result)


def draw_training(result: Mapping, path: str | os.PathLike) -> None:
    """Draw time and memory of a training iteration as bars: a column of two plots for each method.

    Args:
        result: Content of ``training.json``.
        path: The PNG file to write.
    """
    rows = result['training']
    methods = list(dict.fromkeys(row['method'] for row in rows))
    variants = list(dict.fromkeys(row['name'] for row in rows))
    quantities = (
        ('seconds', lambda row: row['median'] / 1e3),
        ('added memory, GiB', lambda row: (row['memory']['peak'] - row['memory']['built']) / 2**30),
    )
    figure, axes = _figure(len(methods), 2 + 2.6 * len(methods), 5.5, rows=len(quantities))
    width = 0.8 / len(variants)
    for number, axis in enumerate(axes):
        (label, quantity), method = quantities[number // len(methods)], methods[number % len(methods)]
        archs = list(dict.fromkeys(row['arch'] for row in rows if row['method'] == method))
        for place, variant in enumerate(variants):
            values = [quantity(row) for row in rows if row['method'] == method and row['name'] == variant]
            left = np.arange(len(archs)) + (place - (len(variants) - 1) / 2) * width
            axis.bar(left, values, 0.92 * width, color=_PART_COLOURS[place + 1], label=variant)
        axis.set_xticks(range(len(archs)), [arch.upper() for arch in archs])
        if number < len(methods):
            axis.set_title(METHODS[method].title, fontsize=10)
        if number % len(methods) == 0:
            axis.set_ylabel(label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=len(variants), frameon=False)
    first = rows[0]
    figure.suptitle(f'One training iteration, {first["shape"]}, {first["machine"]["processor"]}', fontsize=9)
    _save(figure, path, result)


_USE_COLOURS = {'calibration': '#c8553d', 'same-network': '#e9a38f', 'looked-at': '#7fb2d6'}
"""Colours of points by use; the rest have that of networks that nobody looked at before."""


def draw_roofline(result: Mapping, path: str | os.PathLike) -> None:
    """Draw predicted against known latency of an image as points, a panel for each device.

    Args:
        result: Content of ``roofline.json``.
        path: The PNG file to write.
    """
    summaries = result['summaries']
    lines = -(-len(summaries) // 3)
    figure, axes = _figure(3, 12, 4.2 * lines, rows=lines)
    for axis in axes[len(summaries) :]:
        axis.set_visible(False)
    for axis, summary in zip(axes, summaries, strict=False):
        rows = [row for row in result['rows'] if row['target'] == summary['target']]
        for use in sorted({row['use'] for row in rows}, reverse=True):
            found = [row for row in rows if row['use'] == use]
            x, y = ([row[name] / row['batch'] for row in found] for name in ('known_ms', 'predicted_ms'))
            colour = _USE_COLOURS.get(use, '#28587b')
            axis.plot(x, y, linestyle='', marker='o', markersize=4, alpha=0.8, color=colour, label=use)
        every = [row[name] / row['batch'] for row in rows for name in ('known_ms', 'predicted_ms')]
        ends = np.array([min(every) / 1.3, max(every) * 1.3])
        axis.plot(ends, ends, color='#999999', linewidth=1, zorder=0)
        axis.fill_between(ends, ends / 1.15, ends * 1.15, color='#eeeeee', zorder=0)
        for row in sorted(rows, key=lambda row: -abs(np.log(row['predicted_ms'] / row['known_ms'])))[:3]:
            at = (row['known_ms'] / row['batch'], row['predicted_ms'] / row['batch'])
            axis.annotate(row['network'], at, (4, -3), textcoords='offset points', fontsize=6)
        axis.set(xscale='log', yscale='log', xlim=ends, ylim=ends, xlabel='known, ms an image', ylabel='predicted')
        found = list(summary['uses'].values())[-1]
        axis.set_title(
            f'{summary["device"].split(",")[0]}, {summary["compiler"]}\n'
            f'Spearman {found["spearman"]:.3f}, median error {found["median_error"]:.0%}',
            fontsize=9,
        )
        axis.legend(frameon=False, fontsize=7, loc='upper left')
    figure.suptitle('Predicted, not measured. The band is 15 %.', fontsize=9)
    _save(figure, path, result)


def draw_study(result: Mapping, path: str | os.PathLike) -> None:
    """Draw the densities of the blocks over the stages.

    Args:
        result: Rows of ``study.jsonl``.
        path: The PNG file to write.
    """
    _save(block_figure(runs_of(result['rows'], 'block')[0]), path, result)
