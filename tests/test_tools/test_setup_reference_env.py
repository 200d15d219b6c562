"""The reference environment sees the other one's packages, and torchvision loads in it whatever torch is there."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools' / 'dev' / 'setup_reference_env.py'

FAKE_TORCH = """
from types import SimpleNamespace
print('torch is imported')

class Library:
    def __init__(self, *what): print(*what)
    def define(self, schema): print('schema', schema.partition('(')[0])

def load_library(path):
    if {broken}: raise OSError(path)
    print('loads', path.rpartition('/')[2])

library, ops = SimpleNamespace(Library=Library), SimpleNamespace(load_library=load_library)
"""


@pytest.fixture(scope='module')
def script():
    """The script as a module."""
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        spec = importlib.util.spec_from_file_location('setup_reference_env_under_test', SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
        sys.modules.pop('setup_env', None)
    return module


@pytest.fixture
def environment(script, tmp_path):
    """An environment after the first step; gives the packages that it sees, and a function that runs code in it."""
    packages = tmp_path / "other env's packages"
    packages.mkdir()
    venv = tmp_path / 'venv'
    first = script.steps(venv, packages)[0]
    for command in first.commands:
        subprocess.run(command, check=True)

    def run(code):
        done = subprocess.run([venv / 'bin' / 'python', '-c', code], capture_output=True, text=True)
        return done.stdout.splitlines(), done.stderr

    return packages, run


def test_it_sees_packages_and_what_their_path_files_name(environment, tmp_path):
    packages, run = environment
    (packages / 'seen.py').touch()
    (packages / 'editable.pth').write_text(f'{tmp_path / "checkout"}\n')
    (tmp_path / 'checkout').mkdir()
    (tmp_path / 'checkout' / 'beyond.py').touch()
    out, err = run('import seen, beyond; print(seen.__file__); print(beyond.__file__)')
    assert out == [str(packages / 'seen.py'), str(tmp_path / 'checkout' / 'beyond.py')], err


@pytest.mark.parametrize('broken', [False, True])
def test_schemas_are_defined_where_the_operators_do_not_load(environment, broken):
    packages, run = environment
    (packages / 'torch.py').write_text(FAKE_TORCH.format(broken=broken))
    (packages / 'torchvision').mkdir()
    (packages / 'torchvision' / '__init__.py').write_text('print("torchvision is imported")')
    (packages / 'torchvision' / '_C.so').touch()
    out, err = run('import torchvision, torchvision')
    defined = ['torchvision DEF', 'schema nms', 'schema qnms'] if broken else ['loads _C.so']
    assert out == ['torch is imported', *defined, 'torchvision is imported'], err


def test_nothing_is_imported_until_torchvision_is(environment):
    packages, run = environment
    (packages / 'torch.py').write_text(FAKE_TORCH.format(broken=True))
    assert run('import json, sys; print("torch" in sys.modules)') == (['False'], '')
    out, err = run('import torchvision')
    assert out == [] and "ModuleNotFoundError: No module named 'torchvision'" in err


def test_torch_stays_as_it_is(script, tmp_path):
    """Its requirement is among those of the reference packages, with the version that they are the pair of."""
    packages = next(step for step in script.steps(tmp_path, tmp_path) if step.name == 'packages')
    texts = {path.name: path.read_text() for path in packages.inputs}
    assert set(texts) == {'torch.txt', 'reference.txt'}
    assert all(str(path) in packages.commands[0] for path in packages.inputs)
    version = texts['torch.txt'].rpartition('torch==')[2].strip()
    assert f'torch {version}' in texts['reference.txt']


def test_a_python_of_no_environment_is_refused(tmp_path):
    base = getattr(sys, '_base_executable', sys.executable)
    done = subprocess.run([base, SCRIPT, '--venv', tmp_path / 'venv'], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'of no virtual environment. Run: make reference' in done.stderr
    assert not (tmp_path / 'venv').exists()
