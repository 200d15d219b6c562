"""The table of the GPU suite: ``gpu.jsonl``, rows of ``mmtrtvit/measurement.schema.json``."""

from collections.abc import Mapping, Sequence

from mmtrtvit.runtime.backends import BACKENDS

from .render import render, unsteady_mark, versions

_MODES = {'eager': '', 'plain': '', 'channels_last': ', channels last', 'graph': ', CUDA graph'}


def _column(row: Mapping) -> str:
    """What ran the network, such as ``'PyTorch FP16, CUDA graph'``."""
    title = BACKENDS[row['backend']].title if row['backend'] in BACKENDS else 'PyTorch'
    modes = [_MODES.get(mode, f', {mode}') for mode in row['mode'].split('+')]
    return f'{title} {row["precision"].upper()}{"".join(modes)}'


def _cell(row: Mapping) -> str:
    return 'failed' if row['status'] == 'FAILED' else f'{row["p50_ms"]:.2f}{unsteady_mark(row["steady"])}'


def _one_table(rows: Sequence[Mapping], batch: int) -> str:
    titles = dict.fromkeys(map(_column, rows))
    cells: dict[str, dict[str, str]] = {}
    for row in rows:  # the last row of a network and a column counts
        cells.setdefault(row['name'], {})[_column(row)] = _cell(row)
    columns = [('backbone', '{name}'), *((title, f'{{{title}}}') for title in titles)]
    return f'**Batch {batch}**\n\n' + render(columns, [dict(found, name=name) for name, found in cells.items()])


def _note(rows: Sequence[Mapping]) -> str:
    """The conditions of one GPU's rows, and the reasons of failures."""
    right = [row for row in rows if row['status'] == 'OK']
    if not right:
        return ''
    sizes = ' or '.join(dict.fromkeys(f'{row["shape"][2]} x {row["shape"][3]}' for row in right))
    said = (
        f'*Measured* on {right[0]["device_name"]}: median milliseconds of a batch of {sizes}, the networks of a column '
        f'in turn, input on the GPU; {versions(right[0])}.'
    )
    busy = next((row['conditions']['busy'] for row in right if (row['conditions'] or {}).get('busy')), '')
    said += f' The machine was busy: {busy}.' if busy else ''
    if not all(row['steady'] for row in right):
        said += ' (u): unsteady.'
    failures = [f'{row["name"]}, {_column(row)}: {row["reason"]}' for row in rows if row['status'] == 'FAILED']
    return said + (f' Failed: {"; ".join(failures)}.' if failures else '')


def gpu_table(result: Mapping) -> str:
    """``gpu.jsonl``: latency of backbones on each GPU that was measured, a table for each batch."""
    backbones = [row for row in result['rows'] if row['scope'] in ('backbone', 'engine') and row['device'] == 'cuda']
    parts = []
    for gpu in dict.fromkeys(row['device_name'] for row in backbones):
        rows = [row for row in backbones if row['device_name'] == gpu]
        for batch in sorted({row['batch'] for row in rows}):
            parts.append(_one_table([row for row in rows if row['batch'] == batch], batch))
        parts.append(_note(rows))
    return '\n\n'.join(filter(None, parts))
