"""Pictures of measured rows."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..atomic import atomic_file
from .families import FAMILIES
from .methods import METHODS
from .rows import RUNTIMES, as_latencies

_COLOURS = {'PyTorch': '#c8553d', 'ONNX Runtime': '#28587b'}
_PART_COLOURS = ('#9aa5b1', '#bfd7ea', '#7fb2d6', '#3d82b8', '#c8553d')
_SOURCE = 'Source'
"""The text chunk of a PNG that says which rows it was drawn from."""


def _title(arch: str) -> str:
    """Name of a size on an axis, with where its widths and depths come from."""
    family = FAMILIES['trtvit']
    return f'{family.name(arch)}\n({family.origin(arch)})'


def digest_of(result: Mapping) -> str:
    """SHA-256 of rows, as a picture carries it."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def drawn_from(path: str | os.PathLike) -> str | None:
    """The digest of the rows that a picture was drawn from; ``None`` where there is no picture or it has none."""
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


def draw_latency(result: Mapping, path: str | os.PathLike) -> None:
    """Draw the median of each backbone in each runtime as a bar, with a mark at the 90th percentile.

    Args:
        result: What ``backbones.json`` holds.
        path: The PNG file to write.
    """
    latencies = as_latencies(result['latency'])
    archs = list(dict.fromkeys(arch for arch, _ in latencies))
    first = result['latency'][0]
    figure, (axis,) = _figure(1, 7.5, 4)
    width = 0.8 / len(RUNTIMES)
    for number, runtime in enumerate(RUNTIMES):
        rows = [latencies[arch, runtime] for arch in archs]
        places = np.arange(len(archs)) + (number - (len(RUNTIMES) - 1) / 2) * width
        medians, p90 = [row.median for row in rows], [row.quantile(0.9) for row in rows]
        axis.bar(places, medians, 0.92 * width, color=_COLOURS[runtime], label=f'{runtime}, median')
        axis.vlines(places, medians, p90, color='#333333', linewidth=1)
        label = '90th percentile' if number == len(RUNTIMES) - 1 else None
        axis.plot(places, p90, linestyle='', marker='_', markersize=14, color='#333333', label=label)
        for place, row, top in zip(places, rows, p90, strict=True):
            text = f'{row.median:.0f}' + ('' if row.steady else ' (u)')
            axis.annotate(text, (place, top), (0, 4), textcoords='offset points', ha='center', fontsize=9)
    axis.set_xticks(range(len(archs)), [_title(arch) for arch in archs])
    axis.set_ylabel('latency of the backbone, ms')
    axis.margins(y=0.12)
    note = '; (u) unsteady' if any(not row.steady for row in latencies.values()) else ''
    axis.set_title(
        f'{first["shape"]}, {first["precision"]}, {first["machine"]["processor"]}, '
        f'{first["machine"]["torch_threads"]} threads{note}',
        fontsize=9,
    )
    axis.legend(frameon=False)
    _save(figure, path, result)


def draw_complexity(result: Mapping, path: str | os.PathLike) -> None:
    """Draw the parameters and multiply-accumulates of each backbone as bars, stacked by stage.

    Args:
        result: What ``backbones.json`` holds.
        path: The PNG file to write.
    """
    rows = result['complexity']
    parts = list(dict.fromkeys(part for row in rows for part in row['parts']))
    names = [_title(row['arch']) for row in rows]
    figure, axes = _figure(2, 9.5, 4)
    quantities = (('params', 1e6, 'parameters, M'), ('macs', 1e9, f'MACs, G (at {rows[0]["shape"]})'))
    for axis, (quantity, unit, label) in zip(axes, quantities, strict=True):
        bottom = np.zeros(len(rows))
        for number, part in enumerate(parts):
            values = np.array([row['parts'][part][quantity] / unit for row in rows])
            title = part if part == 'stem' else f'stage {int(part[-1]) + 1}'
            axis.bar(names, values, 0.6, bottom=bottom, color=_PART_COLOURS[number % 5], label=title)
            bottom += values
        for name, total in zip(names, bottom, strict=True):
            axis.annotate(f'{total:.1f}', (name, total), (0, 3), textcoords='offset points', ha='center', fontsize=9)
        axis.set_ylabel(label)
        axis.margins(y=0.1)
    axes[0].legend(*(list(reversed(items)) for items in axes[0].get_legend_handles_labels()), frameon=False)
    _save(figure, path, result)


def draw_training(result: Mapping, path: str | os.PathLike) -> None:
    """Draw time and memory of a training iteration as bars: a column of two plots for each method.

    Args:
        result: What ``training.json`` holds.
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
