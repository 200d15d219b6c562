"""mmcv is built from joined sources, and as it is where that fails."""

import importlib.util
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'dev' / 'build_mmcv.py'


@pytest.fixture
def script(monkeypatch):
    """The script as a module; ``main()`` changes the handling of SIGTERM, which is restored."""
    spec = importlib.util.spec_from_file_location('build_mmcv_under_test', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = signal.getsignal(signal.SIGTERM)
    yield module
    signal.signal(signal.SIGTERM, handler)


def make_sources(folder: Path, names=('info.cpp', 'nms.cpp', 'roi_align.cpp', 'pybind.cpp')) -> Path:
    """A source distribution with mmcv's layout."""
    source = folder / 'mmcv-2.1.0'
    pytorch = source / 'mmcv' / 'ops' / 'csrc' / 'pytorch'
    for sub in ('cpu', 'cuda'):
        (pytorch / sub).mkdir(parents=True)
    (source / 'setup.py').touch()
    for name in (*names, 'cpu/nms.cpp', 'cuda/nms_cuda.cu', 'cuda/cudabind.cpp'):
        (pytorch / name).write_text(f'// {name}\n')
    return source


def test_dispatch_files_are_joined_and_the_others_stay(script, tmp_path):
    source = make_sources(tmp_path)
    assert script.join_dispatch_files(source) == 3
    pytorch = source / 'mmcv' / 'ops' / 'csrc' / 'pytorch'
    # These patterns are those by which mmcv's setup.py collects its sources.
    assert {path.name for path in pytorch.glob('*.cpp')} == {'all_dispatch.cpp', 'pybind.cpp'}
    assert {path.name for path in pytorch.glob('cpu/*.cpp')} == {'nms.cpp'}
    assert {path.name for path in pytorch.glob('cuda/*')} == {'nms_cuda.cu', 'cudabind.cpp'}
    joined = (pytorch / 'all_dispatch.cpp').read_text()
    assert joined == '#include "info.inc"\n#include "nms.inc"\n#include "roi_align.inc"\n'
    assert (pytorch / 'nms.inc').read_text() == '// nms.cpp\n'


@pytest.mark.parametrize('names', [('pybind.cpp',), ('nms.cpp', 'roi_align.cpp'), ()])
def test_an_unknown_layout_is_refused(script, tmp_path, names):
    source = make_sources(tmp_path, names)
    with pytest.raises(script.BuildError, match='not the layout of mmcv 2'):
        script.join_dispatch_files(source)


class Pip:
    """Stands in for the commands that are run: writes a diary, and fails where the test wants it to."""

    def __init__(self, script, monkeypatch, folder: Path, fails=()) -> None:
        self.script, self.folder, self.fails = script, folder, list(fails)
        self.diary = []
        monkeypatch.setattr(script, 'run', self)
        monkeypatch.setattr(script, 'settings', lambda: {'MMCV_WITH_OPS': '1'})
        monkeypatch.setattr(sys, 'argv', ['build_mmcv.py', 'mmcv==2.1.0'])

    def __call__(self, command, **environment):
        if command[1] == '-c':
            step = 'operators'
        else:
            step = next(word for word in command if word in ('download', 'install', 'uninstall'))
            if step == 'install':
                step = 'install' if command[-1] == 'mmcv==2.1.0' else 'install joined'
                assert environment == {'MMCV_WITH_OPS': '1'} and '--no-build-isolation' in command
        self.diary.append(step)
        if step == 'download':
            with tarfile.open(Path(command[command.index('--dest') + 1]) / 'mmcv-2.1.0.tar.gz', 'w:gz') as archive:
                archive.add(make_sources(self.folder), 'mmcv-2.1.0')
        if step == 'install joined':
            assert (Path(command[-1]) / 'mmcv/ops/csrc/pytorch/all_dispatch.cpp').is_file()
        if step in self.fails:
            self.fails.remove(step)
            raise self.script.BuildError(f'{step}: c++ is unwell')


@pytest.mark.parametrize('filters', [True, False])
def test_the_joined_build_is_enough(script, monkeypatch, tmp_path, filters):
    if not filters:  # as before Python 3.10.12
        monkeypatch.delattr(tarfile, 'data_filter')
    pip = Pip(script, monkeypatch, tmp_path)
    assert script.main() == 0
    assert pip.diary == ['download', 'install joined', 'operators']


@pytest.mark.parametrize(
    ('fails', 'before'),
    [
        ('download', ['download']),
        ('install joined', ['download', 'install joined']),
        ('operators', ['download', 'install joined', 'operators']),
    ],
)
def test_the_plain_build_follows_where_it_fails(script, monkeypatch, tmp_path, capsys, fails, before):
    pip = Pip(script, monkeypatch, tmp_path, [fails])
    assert script.main() == 0
    assert pip.diary == [*before, 'uninstall', 'install', 'operators']
    shown = capsys.readouterr()
    assert f'{fails}: c++ is unwell\nmmcv==2.1.0: build_joined failed' in shown.err
    assert 'mmcv==2.1.0: built as it is' in shown.out


def test_two_failures_are_a_failure(script, monkeypatch, tmp_path, capsys):
    Pip(script, monkeypatch, tmp_path, ['install joined', 'install'])
    assert script.main() == 1
    assert 'build_plain failed' in capsys.readouterr().err


def test_a_failure_shows_the_end_and_the_way_on(script, capsys):
    code = 'print("[1/2] c++ -MMD"); print("c++: fatal error: Killed signal terminated program"); raise SystemExit(7)'
    with pytest.raises(script.BuildError) as caught:
        script.run((sys.executable, '-c', code))
    assert 'Killed signal terminated program\n' in str(caught.value)
    assert 'ended with 7\nFix: the memory ran out: use fewer compilers at once, MAX_JOBS=1' in str(caught.value)
    assert capsys.readouterr().out == '[1/2]\n'


def test_the_environment_reaches_the_command(script):
    script.run((sys.executable, '-c', 'import os; assert os.environ["CXXFLAGS"] == "-g0"'), CXXFLAGS='-g0')


@pytest.mark.parametrize(('gpu', 'nvcc', 'hidden'), [(True, None, True), (True, '/cuda', False), (False, None, False)])
def test_a_gpu_without_nvcc_gets_a_build_for_the_cpu(script, monkeypatch, capsys, gpu, nvcc, hidden):
    monkeypatch.setitem(sys.modules, 'torch', SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: gpu)))
    monkeypatch.setitem(sys.modules, 'torch.utils', SimpleNamespace())
    monkeypatch.setitem(sys.modules, 'torch.utils.cpp_extension', SimpleNamespace(CUDA_HOME=nvcc))
    monkeypatch.setenv('CXXFLAGS', '-march=native')
    monkeypatch.setenv('MAX_JOBS', '3')
    found = script.settings()
    assert ('CUDA_VISIBLE_DEVICES' in found) == ('for the CPU only' in capsys.readouterr().out) == hidden
    assert (found['MMCV_WITH_OPS'], found['MAX_JOBS'], found['CXXFLAGS']) == ('1', '3', '-march=native -g0')
    monkeypatch.delenv('MAX_JOBS')
    assert 1 <= int(script.settings()['MAX_JOBS']) <= len(os.sched_getaffinity(0))


def test_being_ended_ends_the_compilers(tmp_path):
    pid = tmp_path / 'pid'
    child = f'import os, time; open({str(pid)!r}, "w").write(str(os.getpid())); time.sleep(90)'
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location('build_mmcv', {str(SCRIPT)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.fetch = lambda *_: module.run((sys.executable, '-c', {child!r}))
sys.argv = ['build_mmcv.py', 'mmcv==2.1.0']
module.main()
"""
    process = subprocess.Popen([sys.executable, '-c', program], stderr=subprocess.DEVNULL)
    while not (pid.is_file() and pid.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=30) != 0  # the child alone would take longer
    for _ in range(100):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail('the child is still there')
