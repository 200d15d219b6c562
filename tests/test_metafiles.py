"""``model-index.yml`` and the metafiles: every config has its entry, every entry its config, and mim can read them."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from mmtrtvit.benchmark import network_complexity
from mmtrtvit.zoo.families import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = yaml.safe_load((ROOT / 'docs' / 'results' / 'published.yaml').read_text())
# a start from a ResNet is that of a config that has its entry
CONFIGS = {
    path.stem: path
    for path in (ROOT / 'configs').glob('*.py')
    if not path.stem.endswith('_toy') and '_resnet-init_' not in path.stem
}
SCHEDULES = {'maskrcnn': '1x', 'fasterrcnn': '1x', 'retinanet': '1x', 'semfpn': '80k', 'upernet': '160k'}


def parts_of(name):
    """Method, family, size and schedule of a config; a family of one size does without its name."""
    method, family, *rest, _ = name.split('_')
    arch = rest.pop(0) if len(FAMILIES[family].archs) > 1 else FAMILIES[family].archs[0]
    return method, family, arch, rest[0] if rest else SCHEDULES[method]


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope='module')
def files():
    return {name: read(name) for name in read('model-index.yml')['Import']}


@pytest.fixture(scope='module')
def models(files):
    return {model['Name']: model for file in files.values() for model in file['Models']}


def test_every_metafile_is_in_the_index(files):
    assert set(files) == {f'configs/{path.name}' for path in (ROOT / 'configs').glob('*metafile*')}


def test_every_config_has_its_entry_and_back(files, models):
    assert set(models) == set(CONFIGS)
    assert sum(len(file['Models']) for file in files.values()) == len(CONFIGS), 'a name stands twice'
    for name, model in models.items():
        assert ROOT / model['Config'] == CONFIGS[name]


def test_what_mim_needs(files):
    """``mim search`` joins an entry with its collection by name and makes columns of metadata and metrics."""
    for name, file in files.items():
        collections = {collection['Name']: collection for collection in file['Collections']}
        assert len(collections) == len(file['Collections']) == 1
        for collection in collections.values():
            assert collection['Metadata']['Architecture'] and collection['Paper']['URL'].startswith('https://')
            assert (ROOT / collection['README']).is_file()
        for model in file['Models']:
            assert {'Name', 'In Collection', 'Config', 'Metadata'} <= set(model)
            assert model['In Collection'] in collections
            assert all(isinstance(value, (str, int, float)) for value in model['Metadata'].values())
            assert Path(name).stem == f'metafile_{model["Name"].split("_")[1]}'
            for result in model.get('Results', ()):
                assert set(result) == {'Task', 'Dataset', 'Metrics'}
                assert all(isinstance(value, (int, float)) for value in result['Metrics'].values())


def test_no_entry_claims_weights(models):
    for model in models.values():
        assert 'Weights' not in model
        assert 'none' in model['Metadata']['Checkpoint']


@pytest.mark.parametrize('name', CONFIGS)
def test_entries_say_what_the_configs_do(models, name):
    config, metadata = Config.fromfile(CONFIGS[name]), models[name]['Metadata']
    length = metadata.get('Epochs') or metadata.get('Iterations')
    assert length == config.train_cfg.get('max_epochs', config.train_cfg.get('max_iters'))
    counted = network_complexity(config)
    assert (metadata['Parameters'], metadata['FLOPs']) == (counted.params, counted.total_macs)
    assert metadata['Batch Size'] == config.auto_scale_lr.base_batch_size
    _, family, arch, _ = parts_of(name)
    assert metadata['Widths and depths'] == FAMILIES[family].type.arch_settings[arch]['provenance']


def test_the_borrowed_recipe_is_said_to_be_so(models):
    for name, model in models.items():
        if re.search('_(trtvit|turbovit)_', name):
            assert 'Next-ViT' in model['Metadata']['Recipe'] and 'not published' in model['Metadata']['Recipe']
        assert model['Metadata']['Recipe'].startswith(('published', 'adapted'))
        for method, title in (('fasterrcnn', 'Faster R-CNN'), ('retinanet', 'RetinaNet')):
            assert (f'none for {title}' in model['Metadata']['Recipe']) == name.startswith(method)


def test_the_stand_in_is_said_to_be_one(models):
    for name, model in models.items():
        stand_in = '_turbovit_' in name
        assert ('stand-in' in model['In Collection']) == stand_in
        assert ('reconstructed' in model['Metadata']['Widths and depths']) >= stand_in
        assert 'Results' not in model or not stand_in


def test_results_are_published_ones_with_their_source(models):
    for name, model in models.items():
        method, family, arch, schedule = parts_of(name)
        printed = PUBLISHED['families'].get(family, {}).get(arch, {}).get(f'{method}_{schedule}')
        assert ('Results' in model) == (printed is not None)
        if printed:
            assert model['Metadata']['Source of the results'] == PUBLISHED['sources'][printed['source']]['text']
            metrics = {key: value for result in model['Results'] for key, value in result['Metrics'].items()}
            assert all(key.endswith('(published)') for key in metrics)
            accuracies = {key: value for key, value in printed.items() if key.startswith(('box', 'mask', 'miou'))}
            assert sorted(metrics.values()) == sorted(accuracies.values())
            assert len(model['Results']) == (2 if method == 'maskrcnn' else 1)


def test_every_published_figure_has_a_source():
    for archs in PUBLISHED['families'].values():
        for tables in archs.values():
            for figures in tables.values():
                source = PUBLISHED['sources'][figures['source']]
                assert source['text'] and source['read'] in ('printed', 'copied', 'recalled')
                assert ('memory' in source['text']) == (source['read'] == 'recalled')
