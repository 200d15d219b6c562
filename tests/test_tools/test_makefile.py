"""`make` continues the set-up where it stopped, repeats what changed, and runs the tests as the documentation says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS = {
    'onedl': 'onedl torch==2.13.0 onedl-mmcv==2.3.6 packages complete',
    'upstream': 'upstream torch==2.13.0 mmcv==2.1.0 packages complete',
}

pytestmark = pytest.mark.skipif(shutil.which('make') is None, reason='make is not installed')


def make(*args: str) -> str:
    """What make prints. The variables of a make that runs these tests are kept from it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('MAKE', 'MFLAGS'))}
    return subprocess.check_output(('make', '--no-print-directory', *args), cwd=ROOT, text=True, env=environment)


class Environment:
    """A pretended environment, of which some steps have been done, in order."""

    def __init__(self, folder: Path, done: int, stack: str = 'onedl') -> None:
        self.folder, self.stack = folder, stack
        (folder / 'bin').mkdir(parents=True)
        (folder / '.setup').mkdir()
        (folder / 'bin' / 'python').symlink_to(sys.executable)
        for second, name in enumerate(STEPS[stack].split()[:done]):
            stamp = folder / '.setup' / name
            stamp.touch()
            os.utime(stamp, (2**31 + second,) * 2)  # later than the files of the checkout

    def make(self, *args: str) -> str:
        """The commands that make would run."""
        return make('-n', f'VENV={self.folder}', f'STACK={self.stack}', 'PYTHON=python3', *args)

    def steps(self, *args: str) -> str:
        """The steps of the set-up that make would do."""
        return ''.join(re.findall(r'\[(\d)/5\]', self.make('setup', *args)))


@pytest.mark.parametrize('stack', list(STEPS))
def test_the_steps_come_in_order(tmp_path, stack):
    plan = Environment(tmp_path / 'venv', 0, stack).make('test')
    order = [
        'make_venv.py',
        '-r requirements/torch.txt',
        f'build_mmcv.py {STEPS[stack].split()[2]}',
        '-r requirements/openmmlab',
    ]
    order += ['--no-deps -r requirements/mmdeploy.txt', '--no-deps --no-build-isolation -e .', 'check_env', '-m pytest']
    places = [plan.index(text) for text in order]
    assert places == sorted(places)
    wanted = {'onedl': 'requirements/openmmlab.txt', 'upstream': 'requirements/openmmlab-upstream.txt'}
    assert {name: f'-r {file}' in plan for name, file in wanted.items()} == {name: name == stack for name in STEPS}


@pytest.mark.parametrize('done', range(6))
def test_it_continues_with_the_first_step_that_is_missing(tmp_path, done):
    assert Environment(tmp_path / 'venv', done).steps() == '12345'[done:]


@pytest.mark.parametrize(
    ('changed', 'steps'),
    [
        ('torch.txt', '45'),
        ('build.txt', '45'),
        ('openmmlab.txt', '45'),
        ('mmdeploy.txt', '45'),
        ('test.txt', '45'),
        ('openmmlab-upstream.txt', ''),
        ('docs.txt', ''),
    ],
)
def test_what_changed_and_what_stands_on_it_is_repeated(tmp_path, changed, steps):
    assert Environment(tmp_path / 'venv', 5).steps('-W', f'requirements/{changed}') == steps


def test_another_pin_of_mmcv_is_compiled(tmp_path):
    environment = Environment(tmp_path / 'venv', 5)
    assert environment.steps('MMCV=onedl-mmcv==2.3.7') == '345'
    assert environment.steps('TORCH=torch==2.13.1') == '2345'


def test_an_environment_whose_python_is_gone_is_made_again(tmp_path):
    environment = Environment(tmp_path / 'venv', 5)
    (environment.folder / 'bin' / 'python').unlink()
    assert environment.steps() == '12345'


@pytest.mark.parametrize(
    ('target', 'options'),
    [('test', "-m 'not slow' -k one"), ('test-slow', '-m slow -k one'), ('test-all', '--dist=worksteal -k one')],
)
def test_the_tests_run_in_processes_of_one_thread(tmp_path, target, options):
    plan = Environment(tmp_path / 'venv', 5).make(target, 'ARGS=-k one', 'JOBS=3')
    assert 'OMP_NUM_THREADS=1' in plan and '-m pytest --numprocesses=3' in plan
    assert plan.strip().endswith(options)


def test_help_lists_every_command():
    text = (ROOT / 'Makefile').read_text()
    targets = set(re.search(r'^\.PHONY: (.*)$', text, re.MULTILINE).group(1).split())
    shown = make()
    assert set(re.findall(r'^make ([a-z-]+) ', shown, re.MULTILINE)) == targets
