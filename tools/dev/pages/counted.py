"""Tables of the code and of published figures: sizes, totals, rules of counting, configs.

Everything is counted anew, so that a change of the code shows.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmtrtvit.report.published import Notes, Published
from mmtrtvit.zoo.complexity import (
    IMAGENET_SIZES,
    Complexity,
    backbone_complexity,
    classifier_complexity,
    classifier_params,
    network_complexity,
    published_params,
)
from mmtrtvit.zoo.configs import find_classifiers, find_configs, network_config
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS, METRIC_TITLES

from .render import render

_SETTINGS = {'block_types': 'blocks', 'ntb_widths': 'widths of NTBs', 'attention_blocks': 'blocks with attention'}
"""Settings of a size whose column has another title."""


def sizes_table(published: Published, name: str) -> str:
    """The sizes of a family: settings, counted totals, published totals."""
    family, notes, rows = FAMILIES[name], Notes(published), []
    for arch, settings in family.type.arch_settings.items():
        counted, (params, macs) = backbone_complexity(arch, family=name), classifier_complexity(arch, family=name)
        row = dict(size=family.name(arch), origin=family.origin(arch))
        for key in family.type.arch_keys:
            row[key] = ('-' if key == 'block_types' else ' ').join(map(str, settings[key]))
        row.update(backbone=_pair(counted.params, counted.total_macs), classifier=_pair(params, macs))
        row.update(published=notes.cited(published.find(name, arch, 'imagenet'), '{params_m} / {flops_g}'))
        rows.append(row)
    columns = [
        ('size', '{size}'),
        *((_SETTINGS.get(key, key.replace('_', ' ')), f'{{{key}}}') for key in family.type.arch_keys),
        ('backbone: params M / MACs G', '{backbone}'),
        ('with classifier: params M / MACs G', '{classifier}'),
        ('published: params M / FLOPs G', '{published}'),
        ('widths and depths are', '{origin}'),
    ]
    counted = '*Measured* (by counting) at 224 x 224; MACs of convolutions, linear layers and matrix products.'
    return render(columns, rows, counted, *notes.lines())


def stages_table() -> str:
    """Parameters and multiply-accumulates of TRT-ViT by stage."""
    networks = {arch: backbone_complexity(arch) for arch in FAMILIES['trtvit'].archs}
    rows = [
        {
            'backbone': FAMILIES['trtvit'].name(arch),
            'all': _pair(network.params, network.total_macs),
            **{part.replace('.', ''): _pair(*cost, digits=2) for part, cost in network.parts.items()},
        }
        for arch, network in networks.items()
    ]
    columns = [
        ('backbone', '{backbone}'),
        ('all', '{all}'),
        ('stem', '{stem}'),
        *((f'stage {number + 1}', f'{{stages{number}}}') for number in range(4)),
    ]
    note = f'Parameters M / MACs G, *measured* by counting at 1x3x224x224. Not counted: {_skipped(networks.values())}.'
    return render(columns, rows, note)


def _pair(params: float, macs: float, digits: int = 1) -> str:
    return f'{params / 1e6:.{digits}f} / {macs / 1e9:.2f}'


def _skipped(networks: Iterable[Complexity]) -> str:
    """The operators that are left out in any of several networks."""
    return ', '.join(f'`{name}`' for name in sorted({name for network in networks for name in network.skipped}))


# --- beside published totals ------------------------------------------------------------------------------------------


def _totals(params: float, macs: float, figures: Mapping | None) -> dict:
    """Counted totals (M, G), and the published ones with the relative difference to them."""
    row = dict(params=params / 1e6, macs=macs / 1e9, params_published='none', macs_published='none')
    for name, key in (('params', 'params_m'), ('macs', 'flops_g')):
        if key in (figures or ()):
            misprint = ' (misprint)' if key in figures.get('misprint', ()) else ''
            row[f'{name}_published'] = f'{figures[key]}{misprint}'
            row[f'{name}_difference'] = row[name] / figures[key] - 1
    return row


def _total_columns(params: str, macs: str) -> tuple[list, list]:
    """The columns of :func:`_totals`: of parameters, and of multiply-accumulates."""
    return tuple(
        [first, ('published', f'{{{name}_published}}'), ('difference', f'{{{name}_difference:+.1%}}')]
        for name, first in (('params', params), ('macs', macs))
    )


def imagenet_table(published: Published) -> str:
    """Backbones with classifier: counted totals beside the published ones."""
    notes, rows = Notes(published), []
    for name, family in FAMILIES.items():
        for arch in family.archs:
            for table, size in IMAGENET_SIZES.items():
                figures = published.find(name, arch, table)
                if figures or table == 'imagenet':
                    row = dict(backbone=notes.marked(family.name(arch), figures), origin=family.origin(arch), size=size)
                    rows.append({**row, **_totals(*classifier_complexity(arch, size, name), figures)})
    params, macs = _total_columns(('params M: counted', '{params:.2f}'), ('MACs G: counted', '{macs:.2f}'))
    columns = [
        ('backbone, with classifier', '{backbone}'),
        ('input', '{size} x {size}'),
        ('widths and depths are', '{origin}'),
        *params,
        *macs,
    ]
    return render(columns, rows, *notes.lines())


def networks_table(root: Path, published: Published, method: str) -> str:
    """A method on every backbone: counted totals beside the published ones."""
    notes, rows = Notes(published), []
    for name, family in FAMILIES.items():
        for arch in family.archs:
            network = network_complexity(network_config(root, method, name, arch))
            figures = published.find(name, arch, f'{method}_{METHODS[method].schedule}')
            row = dict(backbone=notes.marked(family.name(arch), figures))
            row.update(all_params=network.params / 1e6, all_macs=network.total_macs / 1e9)
            row.update(_totals(published_params(network, name, arch), network.published_macs, figures))
            rows.append(row)
    params, macs = _total_columns(('by the rules', '{params:.1f}'), ('by the rules', '{macs:.1f}'))
    columns = [
        ('backbone', '{backbone}'),
        ('params M: all', '{all_params:.1f}'),
        *params,
        ('MACs G: all', '{all_macs:.1f}'),
        *macs,
    ]
    return render(columns, rows, *notes.lines())


def rules_table(root: Path) -> str:
    """The parts of each method that are counted, and those that are left out."""
    networks = {name: network_complexity(network_config(root, name, 'trtvit', 'b')) for name in METHODS}
    rows = []
    for name, method in METHODS.items():
        rois = {f'roi_head.{prefix}_head': f' ({number} RoIs)' for prefix, number in method.rois.items()}
        idle = [f'`{part}` (of training only)' for part in networks[name].idle]
        rows.append(
            dict(
                method=method.title,
                input='{1}x{0}'.format(*method.shape),
                runs=', '.join(f'`{part}`{rois.get(part, "")}' for part in networks[name].parts),
                rests=', '.join([*idle, method.left_out]),
                frozen='stem and stage 1' if method.frozen_stages == 1 else 'nothing',
            )
        )
    columns = [
        ('method', '{method}'),
        ('input', '{input}'),
        ('runs, and is counted', '{runs}'),
        ('does not run, and is not counted', '{rests}'),
        ('frozen, and no part of published parameters', '{frozen}'),
    ]
    return render(columns, rows, f'Operators that are not counted in any of them: {_skipped(networks.values())}.')


def misprints(root: Path, published: Published) -> str:
    """The published FLOPs that cannot be right, and why."""
    lines = []
    for family in FAMILIES:
        for arch, tables in published.families.get(family, {}).items():
            for table, figures in tables.items():
                if 'misprint' not in figures:
                    continue
                if table in IMAGENET_SIZES:
                    title, macs = 'ImageNet', classifier_complexity(arch, IMAGENET_SIZES[table], family)[1]
                else:
                    method = table.split('_')[0]
                    network = network_complexity(network_config(root, method, family, arch))
                    title, macs = METHODS[method].title, network.published_macs
                printed = figures['flops_g']
                digits = len(str(printed).partition('.')[2])
                lines.append(
                    f'- {title} on {FAMILIES[family].name(arch)}: {printed} G is printed, {macs / 1e9:.{digits}f} G is '
                    f'counted: {figures["misprint"]["flops_g"]}.'
                )
    return '\n'.join(lines)


# --- configs and published results ------------------------------------------------------------------------------------


def results_table(published: Published, family: str, methods: Sequence[str]) -> str:
    """The published results of a family under some methods."""
    notes, rows = Notes(published), []
    for method in methods:
        for arch, tables in published.families[family].items():
            for table, figures in tables.items():
                if table.partition('_')[0] == method:
                    row = dict(backbone=notes.marked(FAMILIES[family].name(arch), figures))
                    row.update(method=METHODS[method].title, schedule=table.partition('_')[2])
                    rows.append({'params_m': '-', 'flops_g': '-', **row, **figures})
    metrics = dict.fromkeys(metric for method in methods for metric in METHODS[method].metrics)
    columns = [
        ('backbone', '{backbone}'),
        ('method', '{method}'),
        ('schedule', '{schedule}'),
        ('params M / FLOPs G', '{params_m} / {flops_g}'),
        *((METRIC_TITLES[metric], f'{{{metric}}}') for metric in metrics),
    ]
    return render(columns, rows, *notes.lines())


def classifiers_table(root: Path, published: Published) -> str:
    """The configs of classifiers: settings, counted totals, and published accuracy of the same network."""
    notes, rows = Notes(published), []
    tables = {size: table for table, size in IMAGENET_SIZES.items()}
    for entry in find_classifiers(root):
        params, macs = classifier_complexity(entry.arch, entry.size, entry.family)
        # published totals may have a second linear layer for distillation, which these configs do without
        classifiers = FAMILIES[entry.family].classifiers
        params -= classifier_params(entry.arch, entry.family) * (classifiers - 1) // classifiers
        figures = published.find(entry.family, entry.arch, tables[entry.size])
        row = dict(config=f'{entry.path.parent.name}/{entry.path.name}', title=entry.title, size=entry.size)
        result = notes.cited(figures if 'top1' in (figures or ()) else None, 'top-1 {top1}')
        recipe = re.match('published|adapted', entry.recipe)[0]
        rows.append(dict(row, params=params / 1e6, macs=macs / 1e9, recipe=recipe, result=result))
    columns = [
        ('config', '`configs/{config}`'),
        ('backbone', '{title}'),
        ('images', '{size}'),
        ('params M', '{params:.1f}'),
        ('MACs G', '{macs:.1f}'),
        ('recipe', '{recipe}'),
        ('published result', '{result}'),
    ]
    return render(columns, rows, *notes.lines())


def zoo_table(root: Path, published: Published, family: str) -> str:
    """The configs of a family: settings, counted totals, and published results of the same network."""
    notes, rows = Notes(published), []
    for entry in find_configs(root):
        if entry.family != family:
            continue
        network, figures = network_complexity(entry.load()), published.find(family, entry.arch, entry.table)
        shown = [key for key in ('box_ap', 'mask_ap', 'miou', 'miou_ms') if key in (figures or ())]
        rows.append(
            dict(
                config=entry.path.name,
                backbone=entry.title,
                method=entry.about.title,
                schedule=entry.schedule,
                params=network.params / 1e6,
                macs=network.total_macs / 1e9,
                recipe=re.match('published|adapted', entry.recipe)[0],
                result=notes.cited(figures, ', '.join(f'{METRIC_TITLES[key]} {{{key}}}' for key in shown)),
            )
        )
    columns = [
        ('config', '`configs/{config}`'),
        ('backbone', '{backbone}'),
        ('method', '{method}'),
        ('schedule', '{schedule}'),
        ('params M', '{params:.1f}'),
        ('MACs G', '{macs:.0f}'),
        ('recipe', '{recipe}'),
        ('published result', '{result}'),
    ]
    return render(columns, rows, *notes.lines())
