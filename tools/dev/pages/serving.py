"""Tables of artefacts at work: folders of images, and the example service."""

from collections.abc import Mapping

from mmtrtvit.runtime.backends import BACKENDS

from .render import render, unsteady_mark
from .titles import UNSTEADY


def prediction_table(result: Mapping) -> str:
    """``prediction.json``: a folder of images, the network alone and with everything around it."""
    rows, where = [], result['machine'][0]
    for row in result['rows']:
        (few, less), (number, more) = row['peak_bytes'].items()
        rows.append(
            dict(
                row,
                title=f'{row["network"]}, {BACKENDS[row["backend"]].title} {row["precision"].upper()}',
                megapixels=row['pixels'] / 1e6,
                streams=row.get('streams', 1),
                alone=f'{row["milliseconds"]["network"]:.1f}' if 'ratio' in row else '',
                whole=f'{row["milliseconds"]["predict"]:.1f}' if 'ratio' in row else '',
                relative=f'{row["ratio"]:.3f}{unsteady_mark(row["steady"])}' if 'ratio' in row else '',
                a_second=f'{1e3 / row["milliseconds"]["predict"]:.1f}' if 'ratio' in row else '',
                gain=f'{row["gain"]["predict"]:.2f}' if row.get('streams', 1) > 1 and 'gain' in row else '',
                memory=f'{less / 2**20:.0f} ({few} images), {more / 2**20:.0f} ({number} images)',
            )
        )
    columns = [
        ('network', '{title}'),
        ('formats', '{formats}'),
        ('images', '{images}'),
        ('megapixels each', '{megapixels:.2f}'),
        ('threads', '{threads}'),
        ('streams', '{streams}'),
        ('network alone, ms an image', '{alone}'),
        ('whole run, ms an image', '{whole}'),
        ('ratio', '{relative}'),
        ('images a second', '{a_second}'),
        ('over one stream', '{gain}'),
        ('peak memory, MiB', '{memory}'),
    ]
    was_busy = any('conditions' not in row or row['conditions']['busy'] for row in rows if 'ratio' in row)
    busy = ', which did other work too' if was_busy else ''
    return render(
        columns,
        rows,
        f'*Measured* on {where["processor"]} ({where["cores"]} cores){busy}, all of a network in turn. The network '
        'alone gets images that are in memory; a run also reads, draws, encodes and writes. Ratios are medians over '
        'the rounds. Images a second are those of the whole run. Peak memory is that of a process of its own.',
        *([UNSTEADY] if any('(u)' in row['relative'] for row in rows) else []),
    )


def service_table(result: Mapping) -> str:
    """``service.json``: the example web service under load."""
    rows = [
        dict(
            row,
            title=f'{row["network"]}, {BACKENDS[row["backend"]].title} {row["precision"].upper()}',
            before=row['memory_before'] / 2**20,
            after=row['memory_after'] / 2**20,
        )
        for row in result['rows']
    ]
    columns = [
        ('network', '{title}'),
        ('clients', '{clients}'),
        ('requests', '{requests}'),
        ('wrong answers', '{wrong}'),
        ('requests a second', '{a_second:.1f}'),
        ('p50 / p99, ms', '{p50_ms:.0f} / {p99_ms:.0f}'),
        ('memory before / after, MiB', '{before:.0f} / {after:.0f}'),
    ]
    first = result['rows'][0]
    return render(
        columns,
        rows,
        f'*Measured* on {first["machine"]["processor"]} ({first["machine"]["cores"]} cores), clients and service on '
        'one machine, which did other work too. Memory before: after a quarter as many requests to warm up. Every '
        'answer was compared with that of the runtime; one upload in 21 is cut off and has to be refused.',
    )
