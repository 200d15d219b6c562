"""Measured rows as a report shows them: the newest of each, with titles, published accuracy and flags; and ratios,
Pareto fronts and growth computed from them.
"""

import collections
import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..latency import Latency, ratio
from ..measurement import read_measurements
from ..zoo.families import FAMILIES
from ..zoo.methods import METHODS
from .published import Published

SUBJECT = ('name', 'method', 'source', 'origin')
"""Fields that name the network."""

SETTINGS = ('scope', 'backend', 'mode', 'precision', 'input', 'threads', 'device_name')
"""Fields that say how it was run. Latencies can be compared if they are equal."""

BASELINES = ('name', 'backend', 'mode', 'precision')
"""Fields that a baseline may be chosen by."""

GROWTH = {'batch': 'images of a batch', 'pixels': 'pixels of the input', 'macs': 'multiply-accumulates, G'}
"""Quantities that latency and memory grow with, and their titles."""


def read_reported(paths: Iterable[str | os.PathLike], published: Published | None = None) -> list[dict]:
    """Read files of measured rows as a report shows them.

    Args:
        paths: Files of JSON lines, as :mod:`mmtrtvit.measurement` describes them.
        published: Published accuracy, to stand beside the latency of backbones.

    Returns:
        One row of each network and setting, see :func:`reported`: of the newest call of the benchmark, and within
        that of the run in which most rows were measured in turn.

    Raises:
        DataError: If a file cannot be read, or there is no row.
    """
    paths = [str(path) for path in paths]
    found = [reported(row, published) for path in paths for row in read_measurements(path)]
    if not found:
        raise DataError(
            f'There is no row in {", ".join(paths)}.', expected='measured rows', fix='measure with tools/benchmark.py'
        )
    sizes, ends = collections.Counter(row['run'] for row in found), {}
    for row in found:
        ends[_call(row)] = max(ends.get(_call(row), ''), row['time'])
    newest: dict[tuple, dict] = {}
    for row in sorted(found, key=lambda row: (ends[_call(row)], sizes[row['run']], row['time'])):
        newest[tuple(row[key] for key in (*SUBJECT, *SETTINGS))] = row
    return sorted(newest.values(), key=_place)


def _call(row: Mapping) -> str:
    """The call of the benchmark that a row is of: it looks at the machine once."""
    return json.dumps([row['conditions'], row['machine']], sort_keys=True)


def _place(row: Mapping) -> tuple:
    """Rows that can be compared stand together; smaller inputs, families of this package and small networks first."""
    families, modes = list(FAMILIES), ('plain', 'eager')
    return (
        *(row['scope'], row['batch'] or 0, row['pixels'] or 0, row['method'] or ''),
        families.index(row['family']) if row['family'] in families else len(families),
        *(row['macs'] or 0, row['name'], row['backend'], row['mode'] not in modes, row['mode'], row['precision']),
        *(row['threads'] or 0, row['device_name'] or ''),
    )


def reported(row: Mapping, published: Published | None = None) -> dict:
    """A row with the fields that a report adds.

    Returns:
        The fields of the schema, and ``network`` (the name, and the method if there is one), ``size`` (such as
        ``'224x224'``), ``input`` (such as ``'1x3x224x224'``), ``pixels``, ``params_m``, ``macs_g`` (of the whole
        batch), ``memory_mib``, ``share`` (of the limit, percent), ``accuracy`` (ImageNet top-1, percent),
        ``accuracy_of`` (its source, in words) and ``flag``: ``'OK'``, ``'unsteady'``, ``'busy machine'`` or
        ``'FAILED: REASON'``. Values that are not known are None.
    """
    size = (row['shape'] or [None, None])[2:] or row['image'] or []
    figures = published.find_row(row, size) if published else None

    def scaled(value: float | None, unit: float) -> float | None:
        return None if value is None else value / unit

    flag = 'OK' if row['steady'] else 'unsteady'
    if (row['conditions'] or {}).get('busy'):
        flag = 'busy machine'
    if row['status'] == 'FAILED':
        flag = f'FAILED: {row["reason"]}'
    return dict(
        row,
        network=', '.join(filter(None, (row['name'], _method_title(row)))),
        size='x'.join(map(str, size)),
        input='x'.join(map(str, row['shape'] or row['image'] or [])),
        pixels=math.prod(size) if size else None,
        params_m=scaled(row['params'], 1e6),
        macs_g=scaled(row['macs'], 1e9),
        memory_mib=scaled(row['peak_memory_bytes'], 2**20),
        share=(row['limit'] or {}).get('share') and 100 * row['limit']['share'],
        accuracy=figures and figures['top1'],
        accuracy_of=figures and published.text(figures),
        flag=flag,
    )


def ran(rows: Iterable[Mapping]) -> list[Mapping]:
    """The rows that have a latency."""
    return [row for row in rows if row['status'] == 'OK']


def parse_baseline(text: str, rows: Sequence[Mapping]) -> tuple[str, str]:
    """Field and value of a baseline.

    Args:
        text: ``FIELD=VALUE``, with a field of :data:`BASELINES`; a text without a field is a name.
        rows: The rows, one of which has to be a baseline.

    Raises:
        ConfigError: If there is no such field, or no row with a latency has that value.
    """
    field, value = text.split('=', 1) if text.partition('=')[0] in BASELINES else ('name', text)
    known = sorted({str(row[field]) for row in ran(rows)})
    if value not in known:
        raise ConfigError(
            f'No row with a latency has the {field} {value!r}.',
            expected=f'one of {", ".join(known)}',
            fix='name one of them with --baseline, as FIELD=VALUE',
        )
    return field, value


def baselines(rows: Sequence[Mapping]) -> list[tuple[str, str]]:
    """Every field and value that rows can be compared by: the fields in which they differ."""
    found = {field: sorted({str(row[field]) for row in ran(rows)}) for field in BASELINES}
    return [(field, value) for field, values in found.items() if len(values) > 1 for value in values]


def ratios(rows: Sequence[Mapping], field: str, value: str) -> list[float | None]:
    """The latency of each row over that of its baseline: the row that differs in one field.

    A ratio within a run is the median of the ratios of the rounds. Rows of different runs are compared by their
    medians, and only if both are steady.

    Args:
        rows: The rows.
        field: The field, of :data:`BASELINES`.
        value: Its value in the baseline.

    Returns:
        One ratio for each row; None where there is no baseline.
    """
    others = (*SETTINGS, *(SUBJECT[1:2] if field == 'name' else SUBJECT))

    def key(row: Mapping) -> tuple:
        return tuple(row[name] for name in others if name != field)

    standards = {key(row): row for row in ran(rows) if str(row[field]) == value}

    def compared(row: Mapping) -> float | None:
        standard = standards.get(key(row))
        if standard is None or row['status'] == 'FAILED':
            return None
        if row is standard:
            return 1.0
        if row['run'] is not None and row['run'] == standard['run']:
            return ratio([_latency(row, 'row'), _latency(standard, 'standard')], of='row', to='standard')
        return row['p50_ms'] / standard['p50_ms'] if row['steady'] and standard['steady'] else None

    return [compared(row) for row in rows]


def _latency(row: Mapping, name: str) -> Latency:
    return Latency(name, row['scope'], row['values_ms'], {}, start=row['first_counted'])


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other point beats: at most as slow, at least as good, and better in one of both.

    Args:
        points: Latency (less is better) and accuracy (more is better).
    """
    front: list[tuple[float, float]] = []
    for time, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((time, accuracy))
    return front


def fronts(rows: Iterable[Mapping]) -> list[tuple[dict, list[tuple[float, float]]]]:
    """The Pareto front of latency and accuracy of each setting: the settings, and the points."""
    groups: dict[tuple, list[tuple[float, float]]] = {}
    for row in ran(rows):
        if row['accuracy'] is not None:
            settings = tuple(row[key] for key in SETTINGS)
            groups.setdefault(settings, []).append((row['p50_ms'], row['accuracy']))
    return [(dict(zip(SETTINGS, key, strict=True)), pareto_front(points)) for key, points in groups.items()]


@dataclasses.dataclass(frozen=True)
class Series:
    """Rows that differ in one quantity only.

    Attributes:
        title: The network, or the family.
        along: The quantity, a key of :data:`GROWTH`.
        rows: The rows, by that quantity.
    """

    title: str
    along: str
    rows: Sequence[Mapping]

    def values(self, quantity: str) -> tuple[list[float], list[float]]:
        """The quantity that it grows along and another, such as ``'p50_ms'``, where both are known and above zero."""
        along = 'macs_g' if self.along == 'macs' else self.along
        pairs = [(row[along], row[quantity]) for row in self.rows if (row[quantity] or 0) > 0]
        return [x for x, _ in pairs], [y for _, y in pairs]

    def exponent(self, quantity: str) -> float | None:
        """The exponent of the power law that fits best in logarithms; None with fewer than two values."""
        x, y = self.values(quantity)
        return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(set(x)) > 1 else None


def growth(rows: Iterable[Mapping], along: str) -> list[Series]:
    """Series of rows along the batch, the resolution, or the sizes of a family (by their multiply-accumulates).

    Args:
        rows: The rows.
        along: A key of :data:`GROWTH`.

    Returns:
        The series of at least two different values.
    """
    settings = [key for key in SETTINGS if key != 'input']
    same = {
        'batch': (*SUBJECT, *settings, 'pixels'),
        'pixels': (*SUBJECT, *settings, 'batch'),
        'macs': ('family', 'method', 'origin', *settings, 'input'),
    }[along]
    value = 'macs_g' if along == 'macs' else along
    groups: dict[tuple, list[Mapping]] = {}
    for row in ran(rows):
        if row[value] is not None and (along != 'macs' or row['family']):
            groups.setdefault(tuple(row[key] for key in same), []).append(row)
    found = []
    for group in groups.values():
        group.sort(key=lambda row: row[value])
        if len({row[value] for row in group}) > 1:
            title = group[0]['network'] if along != 'macs' else _family_title(group[0])
            found.append(Series(title, along, group))
    return found


def _family_title(row: Mapping) -> str:
    family = FAMILIES[row['family']].title if row['family'] in FAMILIES else row['family']
    return ', '.join(filter(None, (family, _method_title(row))))


def _method_title(row: Mapping) -> str | None:
    return METHODS[row['method']].title if row['method'] in METHODS else row['method']


def summary(rows: Sequence[Mapping]) -> list[str]:
    """The machines, versions and flags behind the rows, in sentences."""

    def distinct(values: Iterable[Any]) -> list[Any]:
        return list({json.dumps(value, sort_keys=True): value for value in values}.values())

    lines = []
    for machine in distinct(row['machine'] for row in rows if row['machine']):
        of = [row for row in rows if row['machine'] == machine]
        where = f'{machine["processor"]}, {machine["cores"]} cores'
        lines.append(
            f'{len(of)} rows on {where}{", " + machine["gpu"] if machine["gpu"] else ""} ({machine["system"]}).'
        )
    for versions in distinct(row['versions'] for row in rows if row['versions']):
        lines.append(f'Versions: {", ".join(f"{name} {version}" for name, version in versions.items())}.')
    for reason in distinct(row['conditions']['busy'] for row in rows if row['flag'] == 'busy machine'):
        lines.append(f'A busy machine: {reason}.')
    unsteady = sum(row['flag'] == 'unsteady' for row in rows)
    if unsteady:
        lines.append(f'{unsteady} rows are unsteady: trust their ratios to rows of the same run only.')
    return lines
