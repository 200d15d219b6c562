"""TRTViT is found from every scope a config may be in, and is one class."""

import pytest
from mmengine.config import Config
from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import STRATEGIES as ROOT_STRATEGIES
from mmengine.registry import DefaultScope

from mmtrtvit.engine import CPUAmpOptimWrapper
from mmtrtvit.models import TRTViT
from mmtrtvit.registry import FUNCTIONS, HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, STRATEGIES

TINY = dict(widths=(16, 16, 32, 32), depths=(1, 1, 1, 1), block_types='CCCM')
NAMES = ['TRTViT', 'mmtrtvit.TRTViT']


def registry_of(scope):
    if scope == 'mmengine':
        return ROOT_MODELS
    return pytest.importorskip(f'{scope}.registry').MODELS


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmtrtvit'])
def test_found_from_every_scope(scope, name):
    assert registry_of(scope).get(name) is TRTViT


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmtrtvit'])
def test_built_from_every_scope(scope, name):
    with DefaultScope.overwrite_default_scope(scope):
        backbone = registry_of(scope).build(dict(type=name, arch=TINY, head_dim=16, out_indices=(0, 1)))
    assert type(backbone) is TRTViT and backbone.out_channels == (16, 16)


def test_built_from_a_config_file_with_an_arch_of_its_own(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(
        "arch = dict(widths=[16, 16, 32, 32], depths=[1, 1, 1, 2], block_types=['C', 'C', 'T', ['M', 'A']])\n"
        "model = dict(type='mmtrtvit.TRTViT', arch=arch, head_dim=16)\n"
    )
    backbone = ROOT_MODELS.build(Config.fromfile(path).model)
    kinds = [[type(block).__name__ for block in stage] for stage in backbone.stages]
    assert kinds == [['BottleNeck'], ['BottleNeck'], ['Transformer'], ['MixBlockC', 'MixBlockA']]


def test_each_child_has_the_root_of_its_name_as_parent():
    for child, root in [
        (MODELS, ROOT_MODELS),
        (HOOKS, ROOT_HOOKS),
        (OPTIM_WRAPPERS, ROOT_OPTIM_WRAPPERS),
        (OPTIM_WRAPPER_CONSTRUCTORS, ROOT_OPTIM_WRAPPER_CONSTRUCTORS),
        (STRATEGIES, ROOT_STRATEGIES),
        (FUNCTIONS, ROOT_FUNCTIONS),
    ]:
        assert child.parent is root and child.name == root.name and child.scope == 'mmtrtvit'
        assert root.children['mmtrtvit'] is child


def test_registered_once():
    assert list(MODELS.module_dict.values()).count(TRTViT) == 1
    assert [name for name, kind in ROOT_MODELS.module_dict.items() if kind is TRTViT] == ['TRTViT']
    with pytest.raises(KeyError, match='TRTViT is already registered'):
        MODELS.register_module(module=TRTViT)


def test_the_optimiser_wrapper_is_found_from_the_root():
    assert ROOT_OPTIM_WRAPPERS.get('CPUAmpOptimWrapper') is CPUAmpOptimWrapper
    assert ROOT_OPTIM_WRAPPERS.get('mmtrtvit.CPUAmpOptimWrapper') is CPUAmpOptimWrapper
