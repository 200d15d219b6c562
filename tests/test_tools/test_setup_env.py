"""The set-up continues where it stopped, repeats what changed, and says what to do when it cannot go on."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools' / 'dev' / 'setup_env.py'


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location('setup_env_under_test', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup_env(script, monkeypatch):
    """The script on a pretended machine that has all it needs."""
    for check in ('check_disk', 'check_compiler'):
        monkeypatch.setattr(script, check, lambda *_: None)
    return script


class Recipe:
    """A table of three steps that write into a diary, the second of which can be made to fail."""

    def __init__(self, module, folder: Path) -> None:
        self.module, self.folder = module, folder
        self.venv = folder / 'venv'
        self.diary = folder / 'diary'
        self.input = folder / 'requirements.txt'
        self.input.write_text('one==1\n')
        self.second = 'pass'
        self.check = self.remedy = None
        module.steps = lambda venv, stack: self.steps()

    def code(self, name: str, body: str = 'pass') -> tuple[str, ...]:
        return (sys.executable, '-c', f'print("{name}", file=open({str(self.diary)!r}, "a")); {body}')

    def steps(self):
        step = self.module.Step
        # An environment without pip: all that is asked of it is that its Python runs.
        venv = (sys.executable, '-m', 'venv', '--without-pip', str(self.venv))
        return [
            step(name='venv', what='making it', commands=(venv, self.code('venv'))),
            step(
                name='second',
                what='the second (seconds)',
                commands=(self.code('second', self.second),),
                inputs=(self.input,),
                check=self.check,
                remedy=self.remedy,
            ),
            step(name='third', what='the third', commands=(self.code('third', 'print("a table")'),)),
        ]

    def run(self, stack: str = 'onedl') -> list[str]:
        """Set up; returns the steps that were done."""
        self.diary.write_text('')
        self.module.set_up(self.venv, stack)
        return self.diary.read_text().split()


@pytest.fixture
def recipe(setup_env, tmp_path):
    return Recipe(setup_env, tmp_path)


def test_steps_are_done_once_with_progress(recipe, capsys):
    assert recipe.run() == ['venv', 'second', 'third']
    shown = capsys.readouterr().out
    assert '[2/3] second: the second (seconds)\n' in shown
    assert 'done in ' in shown
    assert 'a table' in shown
    assert (recipe.venv / '.setup' / 'complete').is_file()
    assert recipe.run() == []
    assert capsys.readouterr().out == ''


def test_what_changed_and_what_comes_after_it_is_repeated(recipe):
    recipe.run()
    recipe.input.write_text('one==2\n')
    assert recipe.run() == ['second', 'third']


def test_what_stands_on_a_step_that_failed_is_repeated_too(recipe):
    recipe.run()
    right, recipe.second = recipe.second, 'raise SystemExit(1)'
    with pytest.raises(recipe.module.SetupError):
        recipe.run()
    recipe.second = right
    assert recipe.run() == ['second', 'third']


def test_an_environment_whose_python_is_gone_is_made_again(recipe):
    recipe.run()
    for python in (recipe.venv / 'bin').glob('python*'):
        python.unlink()
    assert recipe.run() == ['venv', 'second', 'third']


def test_a_failure_shows_the_log_and_the_way_on(recipe):
    recipe.second = 'import sys; print("c++: fatal error: Killed signal terminated program"); sys.exit(7)'
    with pytest.raises(recipe.module.SetupError) as caught:
        recipe.run()
    message = str(caught.value)
    assert 'Step second failed (exit status 7)' in message
    assert '    c++: fatal error: Killed signal terminated program' in message
    assert 'MAX_JOBS=1 make setup' in message
    assert not (recipe.venv / '.setup' / 'complete').exists()
    recipe.second = 'pass'
    assert recipe.run() == ['second', 'third']


def test_a_result_that_does_not_work_gets_its_remedy_once(recipe, capsys):
    healed = recipe.folder / 'healed'
    recipe.check = (sys.executable, '-c', f'import sys, os; sys.exit(not os.path.exists({str(healed)!r}))')
    recipe.remedy = recipe.code('remedy', f'open({str(healed)!r}, "w")')
    assert recipe.run() == ['venv', 'second', 'remedy', 'third']
    assert 'compiling it again' in capsys.readouterr().out


def test_a_remedy_that_does_not_help_is_a_failure(recipe):
    recipe.check = (sys.executable, '-c', 'raise SystemExit("undefined symbol")')
    recipe.remedy = recipe.code('remedy')
    with pytest.raises(recipe.module.SetupError, match='undefined symbol'):
        recipe.run()
    assert recipe.diary.read_text().split() == ['venv', 'second', 'remedy']


def test_two_stacks_do_not_share_an_environment(recipe):
    recipe.run('onedl')
    with pytest.raises(recipe.module.SetupError, match='STACK=upstream VENV=.venv-upstream'):
        recipe.run('upstream')


def test_a_folder_of_something_else_is_left_alone(recipe):
    recipe.venv.mkdir()
    (recipe.venv / 'thesis.tex').touch()
    with pytest.raises(recipe.module.SetupError, match='is no virtual environment'):
        recipe.run()
    assert (recipe.venv / 'thesis.tex').is_file()


@pytest.mark.parametrize(('version', 'right'), [((3, 9, 1), False), ((3, 10, 0), True), ((3, 13, 0), False)])
def test_the_python_is_checked(script, monkeypatch, version, right):
    monkeypatch.setattr(script, 'sys', SimpleNamespace(version_info=version, executable='python3'))
    if right:
        script.check_python()
    else:
        with pytest.raises(script.SetupError, match=r'make setup PYTHON=python3\.11'):
            script.check_python()


def test_a_machine_without_a_compiler_is_told_so_before_anything_is_made(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, '--venv', tmp_path / 'venv'],
        env={**os.environ, 'PATH': str(tmp_path), 'CXX': ''},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('\nError: There is no C++ compiler')
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'venv').exists()


def test_being_ended_ends_what_it_started(tmp_path):
    pid = tmp_path / 'pid'
    child = f'import os, time; open({str(pid)!r}, "w").write(str(os.getpid())); time.sleep(90)'
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location('setup_env', {str(SCRIPT)!r})
module = importlib.util.module_from_spec(spec)
sys.modules['setup_env'] = module
spec.loader.exec_module(module)
command = (sys.executable, '-c', {child!r})
module.steps = lambda venv, stack: [module.Step(name='long', what='long', commands=(command,))]
sys.argv = ['setup_env', '--venv', {str(tmp_path / 'venv')!r}]
sys.exit(module.main())
"""
    process = subprocess.Popen([sys.executable, '-c', program], stderr=subprocess.PIPE, text=True)
    while not (pid.is_file() and pid.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=30)  # the child alone would take longer
    assert process.returncode == 130
    assert 'The same command continues' in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_missing_headers_are_named(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, 'compiler', lambda: 'c++')
    monkeypatch.setattr(script.sysconfig, 'get_path', lambda name: str(tmp_path))
    with pytest.raises(script.SetupError, match=r'Python\.h is missing'):
        script.check_compiler()


@pytest.mark.parametrize('free', [3, 8, 80])
def test_disk_space_is_checked(script, monkeypatch, tmp_path, capsys, free):
    monkeypatch.setattr(script.shutil, 'disk_usage', lambda path: SimpleNamespace(free=free * 2**30))
    if free < 5:
        with pytest.raises(script.SetupError, match='3.0 GiB are free'):
            script.check_disk(tmp_path / 'venv')
    else:
        script.check_disk(tmp_path / 'venv')
        assert ('not for a CUDA build' in capsys.readouterr().out) == (free < 12)


@pytest.mark.parametrize('stack', ['onedl', 'upstream'])
def test_the_real_table_is_in_the_right_order(setup_env, tmp_path, stack):
    table = {step.name: step for step in setup_env.steps(tmp_path / 'venv', stack)}
    assert ' '.join(table) == 'venv torch build-tools mmcv openmmlab mmdeploy mmtrtvit check'
    (build,) = table['mmcv'].commands
    assert '--no-build-isolation' in build
    assert build[-1] == {'onedl': 'onedl-mmcv==2.3.6', 'upstream': 'mmcv==2.1.0'}[stack]
    assert {'--force-reinstall', '--no-cache-dir', '--no-deps'} <= set(table['mmcv'].remedy)
    assert dict(table['mmcv'].environment)['MMCV_WITH_OPS'] == '1'
    assert '--no-deps' in table['mmdeploy'].commands[0]
    for step in table.values():
        assert all(file.is_file() for file in step.inputs)


def test_progress_is_read_from_the_log(setup_env, tmp_path):
    log = tmp_path / 'log'
    log.write_text('Collecting addict (from x)\n  [1/78] c++ -MMD\n warning\n  [12/78] c++ -MMD\n')
    assert setup_env.progress(log) == 'file 12 of 78'
    log.write_text('Collecting addict (from x)\nProcessing /some/folder/torch-2.whl\n')
    assert setup_env.progress(log) == 'Processing torch-2.whl'


def test_compilers_at_once_follow_the_variable(setup_env, monkeypatch):
    monkeypatch.setenv('MAX_JOBS', '3')
    assert setup_env.compilers() == 3
    monkeypatch.delenv('MAX_JOBS')
    assert 1 <= setup_env.compilers() <= setup_env.cores()
