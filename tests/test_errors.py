"""Errors that are the caller's to fix, and what a command line makes of them."""

import ast
import pickle
import subprocess
import sys

import pytest

from mmtrtvit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeployError,
    TrainingError,
    UserError,
    command_line,
)

KINDS = (ConfigError, DataError, CheckpointError, TrainingError, DeployError)


@pytest.fixture(autouse=True)
def no_traceback_asked_for(monkeypatch):
    monkeypatch.delenv('MMTRTVIT_DEBUG', raising=False)


def test_a_message_says_what_was_given_what_was_expected_and_what_to_do():
    error = UserError('Size 3.', expected='4', fix='give 4')
    assert str(error) == 'Size 3.\nExpected: 4\nFix: give 4'
    assert str(UserError('Size 3.', fix='give 4')) == 'Size 3.\nFix: give 4'
    assert str(UserError('Size 3.')) == 'Size 3.'


@pytest.mark.parametrize('kind', KINDS)
def test_the_whole_text_survives_what_libraries_do_to_errors(kind):
    error = kind('Size 3.', expected='4', fix='give 4')
    # mmengine's registries build the error again from its text, data loaders send it through a pickle.
    for again in (type(error)(str(error)), pickle.loads(pickle.dumps(error))):
        assert type(again) is kind and str(again) == str(error)


@pytest.mark.parametrize(
    ('kind', 'builtin'),
    [(ConfigError, ValueError), (DataError, ValueError), (CheckpointError, RuntimeError), (DeployError, RuntimeError)],
)
def test_each_kind_is_a_user_error_and_a_builtin_one(kind, builtin):
    assert issubclass(kind, UserError) and issubclass(kind, builtin)


@pytest.mark.parametrize(('returned', 'status'), [(None, 0), (0, 0), (3, 3)])
def test_a_command_ends_with_what_it_returns(returned, status):
    @command_line
    def main(value):
        return value

    assert main(returned) == status
    assert main.__name__ == 'main'


@pytest.mark.parametrize('kind', KINDS)
def test_a_command_ends_with_the_message_alone(kind, capsys):
    @command_line
    def main():
        raise kind('Size 3.', expected='4', fix='give 4')

    assert main() == 2
    told = capsys.readouterr()
    assert told.err == '\nError: Size 3.\nExpected: 4\nFix: give 4\n'
    assert told.out == ''


def test_the_traceback_is_there_for_who_asks(monkeypatch):
    @command_line
    def main():
        raise ConfigError('Size 3.')

    monkeypatch.setenv('MMTRTVIT_DEBUG', '1')
    with pytest.raises(ConfigError):
        main()


def test_a_defect_keeps_its_traceback():
    @command_line
    def main():
        raise ValueError('a defect')

    with pytest.raises(ValueError, match='a defect'):
        main()


def test_ctrl_c(capsys):
    @command_line
    def main():
        raise KeyboardInterrupt

    assert main() == 130
    assert 'Stopped' in capsys.readouterr().err


def test_the_exit_status_reaches_the_shell():
    program = (
        'import sys; from mmtrtvit import errors\n'
        '@errors.command_line\n'
        'def main(): raise errors.DataError("No data.", fix="make some")\n'
        'sys.exit(main())'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == '\nError: No data.\nFix: make some\n'


def test_every_error_says_how_to_fix_it(root):
    kinds = {kind.__name__ for kind in (UserError, *KINDS)}
    without = [
        f'{path.relative_to(root)}, line {node.lineno}'
        for path in sorted((root / 'mmtrtvit').rglob('*.py'))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') in kinds
        # `**settings` has no name
        if not {keyword.arg for keyword in node.keywords} & {'fix', None}
    ]
    assert without == []
