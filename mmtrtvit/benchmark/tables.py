"""Markdown tables, made from rows and from the code, never typed."""

from collections.abc import Iterable, Mapping, Sequence

from ..models import TRTViT
from ..models.backbones.trt_vit import origin
from .complexity import backbone_complexity, classifier_complexity
from .latency import ratio
from .rows import RUNTIMES, as_latencies

NO_RUN = '*No run is recorded yet: `{command}` makes one.*'
"""What stands in the place of a table whose rows do not exist."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is aligned to the left, the others to the right."""
    lines = [header, ['---', *['---:'] * (len(header) - 1)], *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def _millions(number: float) -> str:
    return f'{number / 1e6:.1f}'


def _giga(number: float) -> str:
    return f'{number / 1e9:.2f}'


def sizes_table(published: Mapping) -> str:
    """The sizes of TRT-ViT: what is built, what that counts to, and what is published.

    Args:
        published: ``models`` and ``sources`` of the file of published figures.
    """
    rows, sources = [], {}
    for arch, settings in TRTViT.arch_settings.items():
        counted = backbone_complexity(arch)
        params, macs = classifier_complexity(arch)
        printed = published['models'].get(arch, {}).get('imagenet')
        said = 'none'
        if printed:
            number = sources.setdefault(printed['source'], len(sources) + 1)
            said = f'{printed["params_m"]} / {printed["flops_g"]} [{number}]'
        rows.append(
            [
                f'TRT-ViT-{arch.upper()}',
                ' '.join(map(str, settings['widths'])),
                ' '.join(map(str, settings['depths'])),
                '-'.join(settings['block_types']),
                f'{_millions(counted.params)} / {_giga(counted.total_macs)}',
                f'{_millions(params)} / {_giga(macs)}',
                said,
                origin(arch),
            ]
        )
    header = [
        'size',
        'widths',
        'depths',
        'blocks',
        'backbone: params M / MACs G',
        'with classifier: params M / MACs G',
        'published: params M / FLOPs G',
        'widths and depths are',
    ]
    notes = [f'[{number}] *Published*: {published["sources"][source]}' for source, number in sources.items()]
    counted = '*Measured* (by counting) at 224 x 224; MACs of convolutions, linear layers and matrix products.'
    return '\n\n'.join([markdown(header, rows), counted, *notes])


def detection_table(published: Mapping) -> str:
    """What is published of TRT-ViT under Mask R-CNN, 1x schedule on COCO."""
    rows, sources = [], {}
    for arch, figures in published['models'].items():
        coco = figures.get('coco_maskrcnn_1x')
        if coco:
            number = sources.setdefault(coco['source'], len(sources) + 1)
            cells = [coco[key] for key in ('box_ap', 'box_ap50', 'box_ap75', 'mask_ap', 'mask_ap50', 'mask_ap75')]
            size = f'{coco["params_m"]} / {coco["flops_g"]}'
            rows.append([f'TRT-ViT-{arch.upper()} [{number}]', size, *cells])
    header = ['backbone', 'params M / FLOPs G', 'box AP', '50', '75', 'mask AP', '50', '75']
    notes = [f'[{number}] *Published*: {published["sources"][source]}' for source, number in sources.items()]
    return '\n\n'.join([markdown(header, rows), *notes])


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
            f'{_millions(row["params"])} / {_giga(row["macs"])}',
            *(f'{row["parts"][part]["params"] / 1e6:.2f} / {_giga(row["parts"][part]["macs"])}' for part in parts),
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


def demo_table(summary: Mapping | None, picture: str) -> str:
    """The summary of ``make demo``, with its picture.

    Args:
        summary: What ``work_dirs/demo/summary.json`` holds, or ``None``.
        picture: Path of the picture, relative to the document.
    """
    if summary is None:
        return NO_RUN.format(command='make demo')
    metrics = {'bbox_mAP': 'box AP', 'bbox_mAP_50': 'box AP50', 'segm_mAP': 'mask AP', 'segm_mAP_50': 'mask AP50'}
    rows = []
    for name, title in {'pytorch': 'PyTorch', 'onnxruntime': 'ONNX Runtime'}.items():
        latency = summary[name]['latency_ms']
        cells = [f'{summary[name][metric]:.3f}' for metric in metrics]
        timed = f'{latency["median"]:.1f} / {latency["p90"]:.1f}{"" if latency["steady"] else " (u)"}'
        rows.append([title, *cells, timed])
    table = markdown(['', *metrics.values(), 'latency: p50 / p90 ms'], rows)
    parity, env, latency = summary['parity'], summary['env'], summary['pytorch']['latency_ms']
    largest = ', '.join(f'{name} {parity[name]["max"]:.1e}' for name in ('boxes', 'scores', 'labels', 'masks'))
    lines = [
        f'*Measured* in one run of {summary["minutes"]:.1f} minutes on {env["processor"]} '
        f'({env["torch_threads"]} threads), Python {env["python"]}, {env["torch"]}.',
        f'Parity on {parity["images"]} images: {parity["same"]} of {parity["detections"]} detections the same, '
        f'{parity["extra"]} extra: {"PASS" if parity["passed"] else "FAIL"}; largest differences: {largest}.',
        f'Latency {latency["scope"]}; image {latency["image"]}, {latency["precision"]}, {latency["runs"]} rounds; '
        f'PyTorch / ONNX Runtime = {summary["latency_ratio"]:.2f}.',
    ]
    if not all(summary[name]['latency_ms']['steady'] for name in ('pytorch', 'onnxruntime')):
        lines.append('(u): unsteady, the inter-quartile range is above 5 % of the median.')
    shown = f'![Truth, PyTorch and ONNX Runtime on images that training never saw]({picture})'
    return '\n\n'.join([table, '\n'.join(lines), shown])
