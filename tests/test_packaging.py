"""What is built holds what it should, and building leaves the sources as they were."""

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path, PurePosixPath

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.search(r"__version__ = '(.+)'", (ROOT / 'mmtrtvit' / 'version.py').read_text()).group(1)

# What setuptools leaves behind in every project; both are ignored by git.
LEFT_BY_SETUPTOOLS = ('build', 'mmtrtvit.egg-info')


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


def build(*command, cwd: Path) -> None:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope='module')
def sources(tmp_path_factory) -> Path:
    """A copy of the checkout as git sees it, with what an older build may have left in it."""
    listing = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip('not a git checkout')
    copy = tmp_path_factory.mktemp('sources')
    for name in filter(None, listing.stdout.split('\0')):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    for name in ('stale.py', '.mim/configs/stale.py'):
        stale = copy / 'build' / 'lib' / 'mmtrtvit' / name
        stale.parent.mkdir(parents=True, exist_ok=True)
        stale.touch()
    return copy


@pytest.fixture(scope='module')
def wheel(sources, tmp_path_factory) -> zipfile.ZipFile:
    """The wheel that `pip install .` installs."""
    out = tmp_path_factory.mktemp('wheel')
    before = files_below(sources)
    pip = (
        '-m',
        'pip',
        '--disable-pip-version-check',
        'wheel',
        '--quiet',
        '--no-deps',
        '--no-build-isolation',
    )
    build(*pip, '--wheel-dir', out, '.', cwd=sources)
    new = {name for name in files_below(sources) - before if name.split('/')[0] not in LEFT_BY_SETUPTOOLS}
    assert not new, f'the build left files among the sources: {new}'
    (path,) = out.iterdir()
    assert path.name == f'mmtrtvit-{VERSION}-py3-none-any.whl'
    return zipfile.ZipFile(path)


def test_wheel_holds_package_configs_and_tools_and_nothing_else(sources, wheel):
    expected = {f'mmtrtvit/{name}' for name in files_below(sources / 'mmtrtvit')}
    for folder in ('configs', 'tools', 'requirements'):
        expected |= {f'mmtrtvit/.mim/{folder}/{name}' for name in files_below(sources / folder)}
    if (sources / 'model-index.yml').is_file():
        expected.add('mmtrtvit/.mim/model-index.yml')
    # The scripts that make a checkout's environment need the checkout.
    expected = {name for name in expected if not name.startswith('mmtrtvit/.mim/tools/dev/')}
    found = {name for name in wheel.namelist() if not PurePosixPath(name).parts[0].endswith('.dist-info')}
    assert found == expected
    assert {'mmtrtvit/__init__.py', 'mmtrtvit/.mim/tools/check_env.py'} <= found


def test_dependencies_leave_the_choice_of_torch_and_openmmlab(wheel):
    metadata = message_from_string(wheel.read(f'mmtrtvit-{VERSION}.dist-info/METADATA').decode())
    assert metadata['License-Expression'] == 'Apache-2.0'
    extras = {'openmmlab', 'openmmlab-upstream', 'runtime', 'service', 'train', 'deploy', 'report', 'test', 'docs'}
    assert set(metadata.get_all('Provides-Extra')) == extras
    requirements = metadata.get_all('Requires-Dist')
    always = {re.match(r'[\w.-]+', line).group() for line in requirements if 'extra ==' not in line}
    # Nor is there a choice of OpenCV: with a window system (train) or without one (runtime).
    assert always == {'numpy'}
    for extra, wanted in {
        'runtime': 'opencv-python-headless',
        'train': 'opencv-python',
        'openmmlab': 'pycocotools',
    }.items():
        names = [re.match(r'[\w.-]+', line).group() for line in requirements if f'extra == "{extra}"' in line]
        assert wanted in names
    assert any(line.startswith('onedl-mmcv==') and 'extra == "openmmlab"' in line for line in requirements)
    assert any(line.startswith('mmcv==') and '"openmmlab-upstream"' in line for line in requirements)
    # Its pins are stale: it cannot be resolved together with the others.
    assert not any(line.startswith('mmdeploy') for line in requirements)


def test_tools_run_from_the_installed_wheel(wheel, tmp_path):
    wheel.extractall(tmp_path)
    tool = tmp_path / 'mmtrtvit' / '.mim' / 'tools' / 'check_env.py'
    done = subprocess.run([sys.executable, '-I', '-S', tool, '--json'], capture_output=True, text=True)
    assert json.loads(done.stdout)['parts'][0]['name'] == 'Python'


def test_sdist_is_complete(sources, tmp_path):
    # `build` makes the wheel from the unpacked sdist: it fails, or lacks files, when the sdist does.
    build('-m', 'build', '--no-isolation', '--outdir', tmp_path, '.', cwd=sources)
    with tarfile.open(tmp_path / f'mmtrtvit-{VERSION}.tar.gz') as archive:
        names = {member.name.partition('/')[2] for member in archive.getmembers() if member.isfile()}
    for folder in ('mmtrtvit', 'configs', 'tools', 'requirements', 'tests'):
        assert {f'{folder}/{name}' for name in files_below(sources / folder)} <= names
    assert {'setup.py', 'pyproject.toml', 'LICENSE', 'Makefile'} <= names
    assert not [name for name in names if name.startswith(('.venv', 'build/', 'work_dirs/')) or '.mim' in name]
    with zipfile.ZipFile(tmp_path / f'mmtrtvit-{VERSION}-py3-none-any.whl') as from_sdist:
        assert 'mmtrtvit/.mim/tools/check_env.py' in from_sdist.namelist()


def test_an_editable_install_uses_the_checkout_and_leaves_it_alone(sources, tmp_path):
    before = files_below(sources)
    code = f'from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})'
    build('-c', code, cwd=sources)
    new = {name for name in files_below(sources) - before if name.split('/')[0] not in LEFT_BY_SETUPTOOLS}
    assert not new
    (path,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(path) as editable:
        pointers = [name for name in editable.namelist() if name.startswith('__editable__')]
        assert any(str(sources) in editable.read(name).decode() for name in pointers)
        assert not [name for name in editable.namelist() if name.startswith('mmtrtvit/')]


def test_every_file_names_the_same_versions():
    """The ruff of pre-commit is the ruff of `make lint`, and the citation is of this version."""
    ruff = re.search(r'^ruff==(.+)$', (ROOT / 'requirements' / 'test.txt').read_text(), re.MULTILINE).group(1)
    assert f'rev: v{ruff} ' in (ROOT / '.pre-commit-config.yaml').read_text()
    assert f'\nversion: {VERSION}\n' in (ROOT / 'CITATION.cff').read_text()


COMMANDS = r"""(?:^|[\s"'])((?:tests|tools|docker|configs|requirements)/[\w./-]+|\.ci/run)"""


def check_commands(text: str) -> None:
    """Every file, target and extra that commands name is there."""
    for name in re.findall(COMMANDS, text):
        assert (ROOT / name).exists(), name
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    assert set(re.findall(r'\bmake ([a-z-]+)$', text, re.MULTILINE)) <= set(targets)
    for extra in re.findall(r'\[([a-z-]+)\]"', text):
        assert f'\n{extra} = {{ file = ' in (ROOT / 'pyproject.toml').read_text()


@pytest.mark.parametrize('name', ['train.Dockerfile', 'runtime.Dockerfile'])
def test_images_are_built_from_what_is_there(name):
    text = (ROOT / 'docker' / name).read_text()
    check_commands(text)
    instructions = re.sub(r'\\\n', ' ', re.sub(r'^#.*\n', '', text, flags=re.MULTILINE))
    words = [line.split() for line in instructions.splitlines() if line]
    assert {first for first, *_ in words} <= {'ARG', 'CMD', 'COPY', 'ENV', 'FROM', 'RUN', 'USER', 'WORKDIR'}
    copied = [source for first, *rest in words if first == 'COPY' and '--from=' not in rest[0] for source in rest[:-1]]
    # The whole checkout, of which the build needs what .dockerignore leaves.
    assert copied == ['.']
    ignored = (ROOT / '.dockerignore').read_text().split()
    for needed in (
        'mmtrtvit',
        'configs',
        'tools',
        'requirements',
        'setup.py',
        'pyproject.toml',
        'README.md',
        'Makefile',
    ):
        assert (ROOT / needed).exists() and not any(PurePosixPath(needed).match(pattern) for pattern in ignored)
    python = re.search(r'python:(\d\.\d+)', text).group(1)
    assert f'Python :: {python}' in (ROOT / 'pyproject.toml').read_text()


def test_the_workflow_runs_what_is_there():
    text = (ROOT / '.github' / 'workflows' / 'ci.yml').read_text()
    check_commands(text)
    jobs = yaml.safe_load(text)['jobs']
    assert jobs['all']['strategy']['matrix']['python'] == ['3.10', '3.12']
    commands = [step['run'] for step in jobs['all']['steps'] if 'run' in step]
    assert commands == ['.ci/run']
    alone = ' '.join(step.get('run', '') for step in jobs['runtime']['steps'])
    assert '[runtime]' in alone and 'torch' not in alone
