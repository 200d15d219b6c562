"""Measured rows as JSON: what tables and plots are made from."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ..atomic import atomic_file
from ..errors import DataError
from ..latency import Latency

RUNTIMES = ('PyTorch', 'ONNX Runtime')
"""What runs a backbone of TRT-ViT, in the order of tables and bars."""

COMPARED = ('ONNX Runtime', 'OpenVINO')
"""What runs the backbones of all families, side by side."""


def write_rows(result: dict[str, list[dict]], path: str | os.PathLike) -> None:
    """Write named lists of rows as JSON, one row a line."""
    lists = [
        f' {json.dumps(name)}: [\n' + ',\n'.join(f'  {json.dumps(row)}' for row in rows) + '\n ]'
        for name, rows in result.items()
    ]
    with atomic_file(path) as temporary:
        temporary.write_text('{\n' + ',\n'.join(lists) + '\n}\n')


def read_rows(path: str | os.PathLike) -> dict | None:
    """Read a file of measured rows.

    Returns:
        Its content, ``None`` where there is no such file.

    Raises:
        DataError: If it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            f'{path} is not JSON: {error}',
            expected='what tools/benchmark.py or tools/demo.py writes',
            fix='copy it again from the folder of the run',
        ) from error


def as_latencies(rows: Sequence[dict]) -> dict[tuple[str, str], Latency]:
    """Latency rows of backbones as :class:`Latency` again, by size and runtime."""
    return {(row['arch'], row['runtime']): Latency(row['name'], row['scope'], row['values'], {}) for row in rows}


def by_network(rows: Sequence[dict]) -> dict[tuple[str, str, str], Latency]:
    """Latency rows of all families as :class:`Latency` again, by family, size and runtime."""
    return {
        (row['family'], row['arch'], row['runtime']): Latency(row['name'], row['scope'], row['values'], {})
        for row in rows
    }
