"""``model-index.yml`` and ``configs/metafile.yml``: every config has its entry, and every entry its config."""

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from mmtrtvit.benchmark.complexity import detector_complexity

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = yaml.safe_load((ROOT / 'docs' / 'results' / 'published.yaml').read_text())


@pytest.fixture(scope='module')
def models():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    files = [yaml.safe_load((ROOT / path).read_text()) for path in index['Import']]
    collections = {collection['Name'] for file in files for collection in file['Collections']}
    entries = [model for file in files for model in file['Models']]
    assert {model['In Collection'] for model in entries} == collections
    return entries


def test_every_config_has_its_entry_and_back(models):
    configs = {f'configs/{path.name}' for path in (ROOT / 'configs').glob('maskrcnn_trtvit_*_coco.py')}
    assert [model['Config'] for model in models] == sorted(configs)
    assert len(configs) == 4
    assert all(model['Name'] == Path(model['Config']).stem for model in models)


def test_no_entry_claims_weights(models):
    assert not [model for model in models if 'Weights' in model]


def test_results_are_published_ones_with_their_source(models):
    with_results = {model['Name'] for model in models if 'Results' in model}
    assert with_results == {f'maskrcnn_trtvit_{arch}_coco' for arch in PUBLISHED['models']}
    for model in models:
        for result in model.get('Results', ()):
            assert all('published' in name for name in result['Metrics'])
            assert model['Metadata']['Source of the results'] in PUBLISHED['sources'].values()


def test_every_published_figure_has_a_source():
    for tables in PUBLISHED['models'].values():
        for figures in tables.values():
            assert PUBLISHED['sources'][figures['source']]


@pytest.mark.parametrize('arch', PUBLISHED['models'])
def test_counted_detectors_agree_with_what_is_published(arch):
    config = Config.fromfile(ROOT / 'configs' / f'maskrcnn_trtvit_{arch}_coco.py')
    params, macs = detector_complexity(config)
    printed = PUBLISHED['models'][arch]['coco_maskrcnn_1x']
    assert params == pytest.approx(printed['params_m'] * 1e6, rel=0.01)
    assert macs == pytest.approx(printed['flops_g'] * 1e9, rel=0.01)
    # counting leaves the config as it was
    assert config.model.backbone.frozen_stages == -1
