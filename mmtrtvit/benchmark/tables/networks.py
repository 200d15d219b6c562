"""Tables of detectors and segmenters: what they count to beside what is published, and by which rules."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...zoo.complexity import NetworkComplexity, classifier_complexity, classifier_params, network_complexity
from ...zoo.configs import network_config
from ...zoo.families import FAMILIES
from ...zoo.methods import METHODS, METRIC_TITLES
from ..published import Published
from .text import Notes, giga, markdown, millions

IMAGENET_SIZES = {'imagenet': 224, 'imagenet_384': 384}
"""Tables of ImageNet figures, and the height and width that they are for."""


def published_params(network: NetworkComplexity, family: str, arch: str) -> int:
    """Parameters of a network by the rules of the published totals of a family."""
    return network.published_params(classifier_params(arch, family) if FAMILIES[family].classifier_stays else 0)


def _against(counted: float, figures: Mapping | None, key: str) -> list[str]:
    """The cells of a published figure and of the relative difference to it."""
    if figures is None or key not in figures:
        return ['none', '']
    misprint = ' (misprint)' if key in figures.get('misprint', ()) else ''
    return [f'{figures[key]}{misprint}', f'{counted / figures[key] - 1:+.1%}']


def imagenet_table(published: Published) -> str:
    """Backbones with classifier: counted parameters and multiply-accumulates beside the published ones."""
    rows, notes = [], Notes(published)
    for name, family in FAMILIES.items():
        for arch in family.archs:
            for table, size in IMAGENET_SIZES.items():
                figures = published.find(name, arch, table)
                if figures is None and table != 'imagenet':
                    continue
                params, macs = classifier_complexity(arch, size, name)
                rows.append(
                    [
                        f'{family.name(arch)} {notes.number(figures) if figures else ""}'.rstrip(),
                        f'{size} x {size}',
                        family.origin(arch),
                        f'{params / 1e6:.2f}',
                        *_against(params / 1e6, figures, 'params_m'),
                        giga(macs),
                        *_against(macs / 1e9, figures, 'flops_g'),
                    ]
                )
    header = [
        'backbone, with classifier',
        'input',
        'widths and depths are',
        'params M: counted',
        'published',
        'difference',
        'MACs G: counted',
        'published',
        'difference',
    ]
    return '\n\n'.join([markdown(header, rows), *notes.lines()])


def networks_table(root: Path, published: Published, method: str) -> str:
    """A method on every backbone: counted parameters and multiply-accumulates beside the published ones.

    Args:
        root: A checkout.
        published: What the literature says.
        method: A name in :data:`~mmtrtvit.zoo.methods.METHODS`.
    """
    rows, notes, table = [], Notes(published), f'{method}_{METHODS[method].schedule}'
    for name, family in FAMILIES.items():
        for arch in family.archs:
            network = network_complexity(network_config(root, method, name, arch))
            params, macs = published_params(network, name, arch), network.published_macs
            figures = published.find(name, arch, table)
            rows.append(
                [
                    f'{family.name(arch)} {notes.number(figures) if figures else ""}'.rstrip(),
                    millions(network.params),
                    millions(params),
                    *_against(params / 1e6, figures, 'params_m'),
                    f'{network.total_macs / 1e9:.1f}',
                    f'{macs / 1e9:.1f}',
                    *_against(macs / 1e9, figures, 'flops_g'),
                ]
            )
    header = [
        'backbone',
        'params M: all',
        'by the rules',
        'published',
        'difference',
        'MACs G: all',
        'by the rules',
        'published',
        'difference',
    ]
    return '\n\n'.join([markdown(header, rows), *notes.lines()])


def rules_table(root: Path) -> str:
    """What is counted of each method, and what is skipped.

    Args:
        root: A checkout.
    """
    rows, skipped = [], set()
    for name, method in METHODS.items():
        network = network_complexity(network_config(root, name, 'trtvit', 'b'))
        counts = {f'roi_head.{prefix}_head': f' ({rois} RoIs)' for prefix, rois in method.rois.items()}
        rows.append(
            [
                method.title,
                '{1}x{0}'.format(*method.shape),
                ', '.join(f'`{part}`{counts.get(part, "")}' for part in network.parts),
                ', '.join([f'`{part}` (of training only)' for part in network.idle] + [method.left_out]),
                'stem and stage 1' if method.frozen_stages == 1 else 'nothing',
            ]
        )
        skipped |= set(network.skipped)
    header = [
        'method',
        'input',
        'runs, and is counted',
        'does not run, and is not counted',
        'frozen, and no part of published parameters',
    ]
    operators = f'Operators that are not counted in any of them: {", ".join(f"`{name}`" for name in sorted(skipped))}.'
    return f'{markdown(header, rows)}\n\n{operators}'


def _counted_again(root: Path, family: str, arch: str, table: str) -> tuple[str, dict[str, float]]:
    """What a published table is of, and what is counted for it, under the names of the published figures."""
    if table in IMAGENET_SIZES:
        params, macs = classifier_complexity(arch, IMAGENET_SIZES[table], family)
        return 'ImageNet', dict(params_m=params / 1e6, flops_g=macs / 1e9)
    method = table.split('_')[0]
    network = network_complexity(network_config(root, method, family, arch))
    counted = dict(params_m=published_params(network, family, arch) / 1e6, flops_g=network.published_macs / 1e9)
    return METHODS[method].title, counted


def misprints(root: Path, published: Published) -> str:
    """The published figures that cannot be right, and why.

    Args:
        root: A checkout.
        published: What the literature says.
    """
    lines = []
    for family in FAMILIES:
        for arch, tables in published.families.get(family, {}).items():
            for table, figures in tables.items():
                for key, reason in figures.get('misprint', {}).items():
                    title, counted = _counted_again(root, family, arch, table)
                    digits = len(str(figures[key]).partition('.')[2])
                    lines.append(
                        f'- {title} on {FAMILIES[family].name(arch)}: {figures[key]} G is printed, '
                        f'{counted[key]:.{digits}f} G is counted: {reason}.'
                    )
    return '\n'.join(lines)


def results_table(published: Published, family: str, methods: Sequence[str]) -> str:
    """What is published of a family under some methods.

    Args:
        published: What the literature says.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        methods: Names in :data:`~mmtrtvit.zoo.methods.METHODS`.
    """
    metrics = list(dict.fromkeys(metric for method in methods for metric in METHODS[method].metrics))
    rows, notes = [], Notes(published)
    for method in methods:
        for arch, tables in published.families[family].items():
            for table, figures in tables.items():
                name, _, schedule = table.partition('_')
                if name == method:
                    row = [f'{FAMILIES[family].name(arch)} {notes.number(figures)}', METHODS[method].title, schedule]
                    row.append(f'{figures.get("params_m", "-")} / {figures.get("flops_g", "-")}')
                    rows.append([*row, *(figures.get(metric, '') for metric in metrics)])
    header = [
        'backbone',
        'method',
        'schedule',
        'params M / FLOPs G',
        *(METRIC_TITLES[metric] for metric in metrics),
    ]
    return '\n\n'.join([markdown(header, rows), *notes.lines()])
