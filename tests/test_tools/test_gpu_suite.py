"""The script that takes the GPU suite to a bare machine."""

import sys
import zipfile

import gpu_suite
import pytest


def wheel(folder, name, module):
    with zipfile.ZipFile(folder / f'{name}-1.0-py3-none-any.whl', 'w') as file:
        file.writestr(f'{module}/__init__.py', 'VALUE = 1')
        file.writestr(f'{name}-1.0.dist-info/METADATA', f'Name: {name}\nVersion: 1.0\n')


def test_only_packages_that_are_missing_are_unpacked(tmp_path):
    wheels, folder = tmp_path / 'wheels', tmp_path / 'site'
    wheels.mkdir()
    wheel(wheels, 'onedl_torch', 'torch')
    wheel(wheels, 'unheard_of', 'unheard_of')
    assert gpu_suite.unpack(wheels, folder) == ['unheard_of-1.0-py3-none-any.whl']
    assert sorted(path.name for path in folder.iterdir()) == ['unheard_of', 'unheard_of-1.0.dist-info']


@pytest.mark.parametrize(
    'code, seconds, passed, said',
    [
        ('print("all right")', 60, True, 'all right\nname: passed'),
        ('raise SystemExit(3)', 60, False, 'name: FAILED with status 3'),
        (
            'import time; print("begun", flush=True); time.sleep(60)',
            2,
            False,
            'begun\nname: FAILED: not finished after 2 s',
        ),
    ],
)
def test_a_step_has_a_log_and_a_limit(tmp_path, capsys, code, seconds, passed, said):
    assert gpu_suite.step('name', [sys.executable, '-c', code], tmp_path, {}, seconds) is passed
    assert said in capsys.readouterr().out
    assert (tmp_path / 'name.log').is_file()
