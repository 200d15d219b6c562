"""A step that fails is named, whoever's fault it was."""

import logging
import warnings

import pytest

from mmtrtvit.deploy.steps import Steps, quiet
from mmtrtvit.environment import EnvironmentProblem
from mmtrtvit.errors import CheckpointError, ConfigError, DataError, DeployError


@pytest.mark.parametrize('kind', [CheckpointError, ConfigError, DataError, DeployError])
def test_the_users_own_errors(kind, capsys):
    """They keep their kind, and what was expected and what to do."""
    steps = Steps(2)
    with steps.step('first') as say:
        say('7 of 7')
    with pytest.raises(kind) as caught, steps.step('second'):
        raise kind('the cat is missing.', expected='a cat', fix='buy one')
    assert type(caught.value) is kind
    assert str(caught.value) == 'Step 2 of 2 (second): the cat is missing.\nExpected: a cat\nFix: buy one'
    shown = capsys.readouterr().out
    assert '[1/2] first' in shown and '7 of 7' in shown and shown.count('done in') == 1


def test_a_part_that_is_not_installed():
    with pytest.raises(EnvironmentProblem) as caught, Steps(1).step('first'):
        raise EnvironmentProblem('mmpretrain is missing.\nFix: install it')
    assert str(caught.value) == 'Step 1 of 1 (first): mmpretrain is missing.\nFix: install it'


def test_any_other_error():
    said = r'Step 1 of 2 \(first\) failed: KeyError: .*cat.*\nFix: .*DEBUG'
    with pytest.raises(DeployError, match=said), Steps(2).step('first'):
        raise KeyError('cat')


def test_stopping_is_no_error():
    with pytest.raises(KeyboardInterrupt), Steps(1).step('first'):
        raise KeyboardInterrupt


def test_what_libraries_print_is_hidden_unless_it_is_asked_for(capsys, monkeypatch):
    def make_noise():
        print('creating index...')
        warnings.warn('deprecated', stacklevel=2)
        logging.getLogger('mmdeploy').warning('cannot find a rewriter')

    with Steps(1).step('export') as say, quiet():
        make_noise()
        say('12 nodes')
    shown = capsys.readouterr()
    assert [line for line in shown.out.splitlines() if 'done' not in line] == ['[1/1] export ...']
    assert '12 nodes' in shown.out and not shown.err
    monkeypatch.setenv('MMTRTVIT_DEBUG', '1')
    with pytest.warns(UserWarning, match='deprecated'), quiet():
        make_noise()
    assert 'creating index' in capsys.readouterr().out
