"""One measurement as one row of JSON, and the file that rows are appended to.

``measurement.schema.json`` beside this module describes a row, field by field (JSON Schema, draft 2020-12).
"""

import datetime
import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError
from .latency import Latency

SCHEMA_VERSION = 1

SCHEMA = Path(__file__).with_name('measurement.schema.json')
"""The JSON Schema of a row."""


def schema() -> dict:
    """The JSON Schema of a row."""
    return json.loads(SCHEMA.read_text(encoding='utf-8'))


def measurement_row(latency: Latency, **facts: Any) -> dict:
    """A measured latency as a row.

    Args:
        latency: The latency. One that failed, or has no values, becomes a row with the status ``FAILED``.
        facts: Values of further fields of the schema. Those that are left out are null.

    Returns:
        The row, with the fields in the order of the schema.

    Raises:
        TypeError: If a field is not in the schema.
    """
    fields = schema()['properties']
    unknown = sorted(set(facts) - set(fields))
    if unknown:
        raise TypeError(f'{SCHEMA.name} has no field {", ".join(unknown)}')
    found: dict[str, Any] = dict(
        dict.fromkeys(fields),
        schema=SCHEMA_VERSION,
        time=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        kind='measured',
        name=latency.name,
        scope=latency.scope,
        mode='plain',
        values_ms=[],
        extra={},
    )
    found.update(facts)
    if found['shape'] is not None:
        found['batch'] = found['shape'][0]
    if latency.failure or not latency.values:
        return dict(found, status='FAILED', reason=latency.failure or 'it was not run')
    values = latency.counted
    mean = statistics.fmean(values)
    found.update(
        status='OK',
        runs=len(values),
        p50_ms=latency.median,
        p90_ms=latency.quantile(0.9),
        p99_ms=latency.quantile(0.99),
        mean_ms=mean,
        std_ms=statistics.pstdev(values),
        images_per_second=None if found['batch'] is None else found['batch'] / mean * 1e3,
        variation=latency.spread,
        steady=latency.steady,
        values_ms=[round(value, 5) for value in latency.values],
        first_counted=latency.start,
        warmup_runs=latency.warmup_runs,
        warmup_seconds=latency.warmup_seconds,
    )
    return found


def append_row(row: Mapping, path: str | os.PathLike) -> None:
    """Append a row to a file, in one write: a program that is ended never leaves a half of it.

    Args:
        row: The row.
        path: A file of JSON lines; it and its folder are made if they are not there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(row, allow_nan=False) + '\n'
    with open(path, 'ab', buffering=0) as file:
        file.write(line.encode())


def read_measurements(path: str | os.PathLike) -> list[dict]:
    """Read the rows of a file.

    Args:
        path: A file of JSON lines.

    Raises:
        DataError: If it is not there, or a line is not a row of this version of the schema.
    """
    path = Path(path)
    fix = 'measure with tools/benchmark.py, or copy the file again'
    if not path.is_file():
        raise DataError(f'There is no file {path}.', expected='a file of measured rows', fix=fix)
    rows = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1):
        try:
            row = json.loads(line)
            version = row['schema']
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f'{path}, line {number} is not a measured row: {error!r}',
                expected=f'JSON lines as {SCHEMA.name} describes them',
                fix=fix,
            ) from error
        if version != SCHEMA_VERSION:
            raise DataError(
                f'{path}, line {number} has version {version} of the schema.',
                expected=f'version {SCHEMA_VERSION}',
                fix='measure again, or use the mmtrtvit that wrote the file',
            )
        rows.append(row)
    return rows
