"""The machine is judged before anything is made, and no folder of something else is touched."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'dev' / 'make_venv.py'


@pytest.fixture
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location('make_venv_under_test', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refusal(check, *args) -> str:
    with pytest.raises(SystemExit) as caught:
        check(*args)
    message = str(caught.value.code)
    assert message.startswith('Error: ') and message.count('\nFix: ') == 1
    return message


@pytest.mark.parametrize(('version', 'right'), [((3, 9, 1), False), ((3, 10, 0), True), ((3, 13, 0), False)])
def test_the_python_is_checked(script, monkeypatch, version, right):
    pretended = SimpleNamespace(version_info=version, version='3.x', executable='python3', exit=sys.exit)
    monkeypatch.setattr(script, 'sys', pretended)
    if right:
        script.check_python()
    else:
        assert 'make setup PYTHON=python3.11' in refusal(script.check_python)


def test_a_python_without_venv_is_refused(script, monkeypatch):
    monkeypatch.setattr(script.importlib.util, 'find_spec', lambda name: None)
    assert '-venv' in refusal(script.check_python)


def test_missing_headers_are_named(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script.shutil, 'which', lambda name: name)
    monkeypatch.setattr(script.sysconfig, 'get_path', lambda name: str(tmp_path))
    assert 'Python.h is missing' in refusal(script.check_compiler)


@pytest.mark.parametrize('free', [3, 8, 80])
def test_disk_space_is_checked(script, monkeypatch, tmp_path, capsys, free):
    monkeypatch.setattr(script.shutil, 'disk_usage', lambda path: SimpleNamespace(free=free * 2**30))
    if free < 5:
        assert '3.0 GiB are free' in refusal(script.check_disk, tmp_path / 'venv')
    else:
        script.check_disk(tmp_path / 'venv')
        assert ('not for a CUDA build' in capsys.readouterr().out) == (free < 12)


def test_two_stacks_do_not_share_an_environment(script, tmp_path):
    (tmp_path / '.setup').mkdir()
    (tmp_path / 'pyvenv.cfg').touch()
    (tmp_path / '.setup' / 'onedl').touch()
    assert 'STACK=upstream VENV=.venv-upstream' in refusal(script.check_folder, tmp_path, 'upstream')
    script.check_folder(tmp_path, 'onedl')


def make_venv(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = (sys.executable, str(SCRIPT), str(folder), 'onedl')
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    done = make_venv(tmp_path)
    assert done.returncode == 1
    assert 'is not a virtual environment' in done.stderr and 'Traceback' not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_a_machine_without_a_compiler_is_told_so_before_anything_is_made(tmp_path):
    done = make_venv(tmp_path / 'venv', PATH=str(tmp_path), CXX='')
    assert done.returncode == 1
    assert done.stderr.startswith('Error: There is no C++ compiler')
    assert not (tmp_path / 'venv').exists()


def test_an_environment_is_made_anew(tmp_path):
    folder = tmp_path / 'venv'
    (folder / '.setup').mkdir(parents=True)
    (folder / 'pyvenv.cfg').touch()
    (folder / '.setup' / 'torch').touch()
    done = make_venv(folder)
    assert done.returncode == 0, done.stderr
    # Nothing of the old one counts as done.
    assert [path.name for path in (folder / '.setup').iterdir()] == ['onedl']
    assert subprocess.run((folder / 'bin' / 'python', '-m', 'pip', '--version')).returncode == 0
