"""``model-index.yml`` and ``configs/metafile_*.yml``, which OpenMMLab's ``mim search`` reads."""

from pathlib import Path

import yaml

from mmtrtvit.report.published import Published
from mmtrtvit.zoo.complexity import network_complexity, published_params
from mmtrtvit.zoo.configs import Entry, find_configs, schedule_length
from mmtrtvit.zoo.families import FAMILIES, Family
from mmtrtvit.zoo.methods import METRIC_TITLES

INDEX = Path('model-index.yml')
_HEAD = '# Made by tools/dev/update_pages.py: parameters and FLOPs are counted, see docs/complexity.md.\n'


def metafiles(root: Path) -> dict[Path, str]:
    """The index, and one metafile for each family that has configs.

    This project publishes no checkpoint, so every result is a published one: its name says so, and its source stands
    beside it.

    Args:
        root: A checkout.

    Returns:
        Path to content.
    """
    published = Published.read(root)
    entries = find_configs(root)
    files = {}
    for name, family in FAMILIES.items():
        own = [entry for entry in entries if entry.family == name]
        if own:
            content = {
                'Collections': [_collection(family, own)],
                'Models': [_model(entry, published) for entry in own],
            }
            text = yaml.safe_dump(content, sort_keys=False, width=120)
            files[root / 'configs' / f'metafile_{name}.yml'] = _HEAD + text
    index = {'Import': [path.relative_to(root).as_posix() for path in files]}
    return {root / INDEX: _HEAD + yaml.safe_dump(index, sort_keys=False), **files}


def _collection(family: Family, entries: list[Entry]) -> dict:
    methods = dict.fromkeys(part for entry in entries for part in entry.about.architecture)
    title, url = family.paper
    return {
        'Name': family.title,
        'Paper': {'Title': title, 'URL': url},
        'README': family.page,
        'Metadata': {'Architecture': [family.title, *family.blocks, *methods]},
    }


def _model(entry: Entry, published: Published) -> dict:
    config, method = entry.load(), entry.about
    network = network_complexity(config)
    unit, length = schedule_length(config)
    figures = published.find(entry.family, entry.arch, entry.table)
    model = {
        'Name': entry.name,
        'In Collection': entry.backbones.title,
        'Config': f'configs/{entry.path.name}',
        'Metadata': {
            'Training Data': method.dataset,
            unit: length,
            'Batch Size': config.auto_scale_lr.base_batch_size,
            'Recipe': entry.recipe,
            'Input': '{1}x{0}'.format(*method.shape),
            'Parameters': network.params,
            'FLOPs': network.total_macs,
            'Parameters counted as in published totals (M)': round(
                published_params(network, entry.family, entry.arch) / 1e6, 1
            ),
            'FLOPs counted as in published totals (G)': round(network.published_macs / 1e9),
            'Widths and depths': entry.backbones.type.arch_settings[entry.arch]['provenance'],
            'Checkpoint': entry.backbones.weights,
            'Licence of the original': entry.backbones.licence,
        },
    }
    if figures:
        model['Metadata']['Source of the results'] = published.text(figures)
        model['Results'] = [
            {
                'Task': task,
                'Dataset': method.dataset,
                'Metrics': {f'{METRIC_TITLES[key]} (published)': figures[key] for key in metrics if key in figures},
            }
            for task, metrics in method.tasks.items()
        ]
    return model
