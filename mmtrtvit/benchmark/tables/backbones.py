"""Tables of backbones: sizes, complexity by stage, latency."""

from collections.abc import Mapping

from ...latency import ratio
from ...zoo.complexity import backbone_complexity, classifier_complexity
from ...zoo.families import FAMILIES
from ..published import Published
from ..rows import RUNTIMES, as_latencies
from .text import NO_RUN, Notes, giga, markdown, millions

ARCH_TITLES = {'block_types': 'blocks', 'ntb_widths': 'widths of NTBs', 'attention_blocks': 'blocks with attention'}
"""Settings of an arch that are called otherwise in the table of sizes."""


def sizes_table(published: Published, name: str = 'trtvit') -> str:
    """The sizes of a family: what is built, what that counts to, and what is published.

    Args:
        published: What the literature says.
        name: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
    """
    rows, notes, family = [], Notes(published), FAMILIES[name]
    keys = family.type.arch_keys
    for arch, settings in family.type.arch_settings.items():
        counted = backbone_complexity(arch, family=name)
        params, macs = classifier_complexity(arch, family=name)
        printed = published.find(name, arch, 'imagenet')
        said = f'{printed["params_m"]} / {printed["flops_g"]} {notes.number(printed)}' if printed else 'none'
        rows.append(
            [
                family.name(arch),
                *(('-' if key == 'block_types' else ' ').join(map(str, settings[key])) for key in keys),
                f'{millions(counted.params)} / {giga(counted.total_macs)}',
                f'{millions(params)} / {giga(macs)}',
                said,
                family.origin(arch),
            ]
        )
    header = [
        'size',
        *(ARCH_TITLES.get(key, key.replace('_', ' ')) for key in keys),
        'backbone: params M / MACs G',
        'with classifier: params M / MACs G',
        'published: params M / FLOPs G',
        'widths and depths are',
    ]
    counted = '*Measured* (by counting) at 224 x 224; MACs of convolutions, linear layers and matrix products.'
    return '\n\n'.join([markdown(header, rows), counted, *notes.lines()])


def latency_table(result: Mapping | None) -> str:
    """Latency of backbones in each runtime, with the ratio of the two from the same rounds.

    Args:
        result: What ``backbones.json`` holds, or ``None``.
    """
    if result is None:
        return NO_RUN.format(command='make bench')
    latencies = as_latencies(result['latency'])
    differences = {row['arch']: row for row in result['difference']}
    rows = []
    for arch in dict.fromkeys(arch for arch, _ in latencies):
        pair = [latencies[arch, runtime] for runtime in RUNTIMES]
        cells = [f'{row.median:.1f} / {row.quantile(0.9):.1f}{"" if row.steady else " (u)"}' for row in pair]
        gain = ratio(pair, of=pair[0].name, to=pair[1].name)
        rows.append([f'TRT-ViT-{arch.upper()}', *cells, f'{gain:.2f}', f'{differences[arch]["relative"]:.1e}'])
    header = [
        'backbone',
        *(f'{runtime}: p50 / p90 ms' for runtime in RUNTIMES),
        ' / '.join(RUNTIMES),
        'largest difference (relative)',
    ]
    table = markdown(header, rows)
    first = result['latency'][0]
    unsteady = [row for row in latencies.values() if not row.steady]
    note = (
        f'*Measured*, interleaved in one run: scope {first["scope"]}, input {first["shape"]}, {first["precision"]}, '
        f'{first["runs"]} rounds on {first["machine"]["processor"]} ({first["machine"]["torch_threads"]} threads, '
        f'load average {first["load_average"]} before it began); '
        + ', '.join(f'{name} {version}' for name, version in first['versions'].items())
        + '.'
    )
    if unsteady:
        worst = max(row.spread for row in unsteady)
        note += (
            f' (u): unsteady, the inter-quartile range is above 5 % of the median (up to {worst:.0%}): '
            'trust the ratio, not the figure.'
        )
    return f'{table}\n\n{note}'


def complexity_table(result: Mapping) -> str:
    """Parameters and multiply-accumulates by part of each backbone.

    Args:
        result: What ``backbones.json`` holds.
    """
    parts = list(dict.fromkeys(part for row in result['complexity'] for part in row['parts']))
    rows = [
        [
            f'TRT-ViT-{row["arch"].upper()}',
            f'{millions(row["params"])} / {giga(row["macs"])}',
            *(f'{row["parts"][part]["params"] / 1e6:.2f} / {giga(row["parts"][part]["macs"])}' for part in parts),
        ]
        for row in result['complexity']
    ]
    names = [part if part == 'stem' else f'stage {int(part[-1]) + 1}' for part in parts]
    skipped = sorted({name for row in result['complexity'] for name in row['skipped']})
    note = (
        f'Parameters M / MACs G, *measured* by counting at {result["complexity"][0]["shape"]}. '
        f'Not counted: {", ".join(f"`{name}`" for name in skipped)}.'
    )
    return f'{markdown(["backbone", "all", *names], rows)}\n\n{note}'
