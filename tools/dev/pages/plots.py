"""Pictures of measured rows."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmtrtvit.atomic import atomic_file
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS

from .measured import IMAGENET, RUNTIMES, one_run
from .render import unsteady_mark

_COLOURS = {'pytorch': '#c8553d', 'onnxruntime': '#28587b', 'openvino': '#6a994e'}
_PART_COLOURS = ('#9aa5b1', '#bfd7ea', '#7fb2d6', '#3d82b8', '#c8553d')
_FAMILY_COLOURS = ('#c8553d', '#28587b', '#6a994e', '#8a5a9e')
_SOURCE = 'Source'
"""The text chunk of a PNG that holds the digest of its rows."""


def _title(arch: str) -> str:
    """Name of a size on an axis, with where its widths and depths come from."""
    family = FAMILIES['trtvit']
    return f'{family.name(arch)}\n({family.origin(arch)})'


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


def _latencies(result: Mapping, **wanted: object) -> tuple[dict[tuple[str, str, str], Mapping], list[str]]:
    """Rows of our backbones in one run by family, arch and backend; and the backends."""
    rows = one_run(result['rows'], scope='backbone', shape=IMAGENET, precision='fp32', **wanted)
    rows = [row for row in rows if row['family'] and row['mode'] in ('plain', 'eager')]
    backends = [name for name in RUNTIMES if any(row['backend'] == name for row in rows)]
    return {(row['family'], row['arch'], row['backend']): row for row in rows}, backends


def _where(row: Mapping) -> str:
    """Input, precision and machine of a row."""
    return f'{"x".join(map(str, row["shape"]))}, {row["precision"]}, {row["device_name"]}' + (
        f', {row["threads"]} threads' if row['threads'] else ''
    )


def draw_latency(result: Mapping, path: str | os.PathLike) -> None:
    """Draw the median of each backbone in each runtime as a bar, with a mark at the 90th percentile; if there are any.

    Args:
        result: Content of ``speed.jsonl``.
        path: The PNG file to write.
    """
    found, backends = _latencies(result, family='trtvit')
    latencies = {(arch, backend): row for (_, arch, backend), row in found.items()}
    if not latencies:
        return
    archs = list(dict.fromkeys(arch for arch, _ in latencies))
    first = next(iter(latencies.values()))
    figure, (axis,) = _figure(1, 7.5, 4)
    width = 0.8 / len(backends)
    for number, runtime in enumerate(backends):
        rows = [latencies[arch, runtime] for arch in archs]
        places = np.arange(len(archs)) + (number - (len(backends) - 1) / 2) * width
        medians, p90 = [row['p50_ms'] for row in rows], [row['p90_ms'] for row in rows]
        axis.bar(places, medians, 0.92 * width, color=_COLOURS[runtime], label=f'{RUNTIMES[runtime]}, median')
        axis.vlines(places, medians, p90, color='#333333', linewidth=1)
        label = '90th percentile' if number == len(backends) - 1 else None
        axis.plot(places, p90, linestyle='', marker='_', markersize=14, color='#333333', label=label)
        for place, row, top in zip(places, rows, p90, strict=True):
            text = f'{row["p50_ms"]:.0f}{unsteady_mark(row["steady"])}'
            axis.annotate(text, (place, top), (0, 4), textcoords='offset points', ha='center', fontsize=9)
    axis.set_xticks(range(len(archs)), [_title(arch) for arch in archs])
    axis.set_ylabel('latency of the backbone, ms')
    axis.margins(y=0.12)
    note = '; (u) unsteady' if any(not row['steady'] for row in latencies.values()) else ''
    axis.set_title(_where(first) + note, fontsize=9)
    axis.legend(frameon=False)
    _save(figure, path, result)


def draw_complexity(result: Mapping, path: str | os.PathLike) -> None:
    """Draw the parameters and multiply-accumulates of each backbone as bars, stacked by stage.

    Args:
        result: ``complexity`` rows.
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


def _size_label(family: str, arch: str) -> str:
    """Name of a size beside its point, marked where its widths and depths are not the published ones."""
    return arch.upper() + ('' if FAMILIES[family].origin(arch) == 'published' else '*')


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other point beats: at most as slow, at least as good, and better in one of both.

    Args:
        points: Latency (less is better) and accuracy (more is better).
    """
    front: list[tuple[float, float]] = []
    for time, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((time, accuracy))
    return front


def draw_comparison(result: Mapping, path: str | os.PathLike) -> None:
    """Draw the measured latency of the backbones of all families against their MACs and their published accuracy.

    One row of plots for each runtime: multiply-accumulates to the left, published top-1 accuracy with its Pareto front
    to the right (only of the sizes that have one).

    Args:
        result: Content of ``speed.jsonl``, with ``published``: top-1 accuracy of the sizes that have one.
        path: The PNG file to write.
    """
    latencies, backends = _latencies(result)
    if not latencies:
        return
    first = next(iter(latencies.values()))
    macs = {(family, arch): row['macs'] / 1e9 for (family, arch, _), row in latencies.items()}
    top1 = {(row['family'], row['arch']): row['top1'] for row in result['published']}
    families = list(dict.fromkeys(family for family, _ in macs))
    quantities = (
        (macs, f'MACs of the backbone, G (at {first["shape"][2]} x {first["shape"][3]})'),
        (top1, 'published ImageNet top-1, %'),
    )
    figure, axes = _figure(2, 11, 4.2 * len(backends), rows=len(backends))
    for number, axis in enumerate(axes):
        runtime, (quantity, label) = backends[number // 2], quantities[number % 2]
        for place, family in enumerate(families):
            archs = [arch for of, arch in macs if of == family and (of, arch) in quantity]
            rows = [latencies[family, arch, runtime] for arch in archs]
            x, y = [row['p50_ms'] for row in rows], [quantity[family, arch] for arch in archs]
            colour = _FAMILY_COLOURS[place % len(_FAMILY_COLOURS)]
            axis.plot(x, y, marker='o', linewidth=1, color=colour, label=FAMILIES[family].title)
            for arch, row, here in zip(archs, rows, y, strict=True):
                text = _size_label(family, arch) + unsteady_mark(row['steady'])
                axis.annotate(text, (row['p50_ms'], here), (5, 4), textcoords='offset points', fontsize=8)
        if quantity is top1:
            points = [(latencies[(*network, runtime)]['p50_ms'], top1[network]) for network in macs if network in top1]
            front = pareto_front(points)
            axis.step(
                *(zip(*front, strict=True) if front else ([], [])),
                where='post',
                color='#999999',
                linestyle=':',
                label='Pareto front',
                zorder=0,
            )
        axis.set_xlabel(f'latency in {RUNTIMES[runtime]}, ms (median)')
        axis.set_ylabel(label)
        axis.margins(0.1)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(labels), frameon=False)
    notes = [_where(first)]
    if any(_size_label(*network).endswith('*') for network in macs):
        notes.append('*: widths and depths are not the published ones, so the latency is not either')
    if any(not row['steady'] for row in latencies.values()):
        notes.append('(u): unsteady')
    figure.suptitle('; '.join(notes), fontsize=9)
    _save(figure, path, result)


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
