"""tools/study.py: each command hands its options over, and the function takes them."""

import dataclasses
import importlib
import inspect

import pytest

from mmtrtvit.study.blocks import BLOCKS
from mmtrtvit.study.networks import STUDIES
from mmtrtvit.study.training import TRAINED, Recipe

CALLS = {
    'blocks --blocks BottleNeck --backends openvino': dict(blocks=['BottleNeck'], backends=['openvino'], batches=[1]),
    'networks --studies shrink --shapes 384': dict(studies=['shrink'], shapes=['384'], min_runs=30, busy_ok=False),
    'train photos --seeds 4 5 --epochs 2': dict(data='photos', seeds=[4, 5], epochs=2, size=96, threads=None),
    'guidelines a b --accuracy c': dict(rows=['a', 'b'], accuracy='c', out='work_dirs/study'),
    'modules a.py --size 64x96 --cfg-options a=1': dict(config='a.py', size='64x96', cfg_options=dict(a=1), image=None),
}


@pytest.mark.parametrize('words', CALLS)
def test_options_arrive(tool, load_tool, monkeypatch, words):
    name, *options = words.split()
    path, function = load_tool('study').COMMANDS[name]['function'].split('.')
    module = importlib.import_module(f'mmtrtvit.study.{path}')
    signature, called = inspect.signature(getattr(module, function)), []
    monkeypatch.setattr(module, function, lambda **given: called.append(given))
    outcome = tool('study', name, *options)
    assert outcome.status == 0, outcome.err
    signature.bind(**called[0])
    assert {key: called[0][key] for key in CALLS[words]} == CALLS[words]


def test_defaults_in_the_help_are_those_of_the_code(load_tool):
    options = load_tool('study').OPTIONS
    assert options['--blocks']['default'] == list(BLOCKS) and options['--studies']['default'] == list(STUDIES)
    assert options['--networks']['default'] == list(TRAINED)
    recipe = dataclasses.asdict(Recipe())
    for name in ('size', 'width', 'epochs', 'batch', 'lr'):
        assert options[f'--{name}']['default'] == recipe[name]


@pytest.mark.parametrize('words', ['', 'block', 'blocks --shapes 224', 'train', 'guidelines', 'networks --seeds 1'])
def test_what_a_command_does_not_take_is_refused(tool, words):
    outcome = tool('study', *words.split())
    assert outcome.status == 2 and 'error:' in outcome.err


def test_a_wrong_name_is_one_message(command):
    assert '--blocks Bottle is unknown' in command('study', 'blocks', '--blocks', 'Bottle').message
