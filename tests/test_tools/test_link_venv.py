"""The reference environment sees the other one's packages, and torchvision loads in it whatever torch is there."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'dev' / 'link_venv.py'

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


@pytest.fixture
def environment(tmp_path):
    """A linked environment; gives the packages that it sees, and a function that runs code in it."""
    packages = tmp_path / "other env's packages"
    packages.mkdir()
    python = tmp_path / 'venv' / 'bin' / 'python'
    subprocess.run((sys.executable, '-m', 'venv', '--without-pip', tmp_path / 'venv'), check=True)
    subprocess.run((python, SCRIPT, packages), check=True)

    def run(code):
        done = subprocess.run([python, '-c', code], capture_output=True, text=True)
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
