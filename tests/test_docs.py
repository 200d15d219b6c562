"""README and documentation: commands parse and name what exists, cheap ones run, links resolve, tables are current."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmtrtvit.config import find_config
from pages.documents import document_paths, update_documents

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*document_paths(ROOT), ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md']
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r'^\w+=')


def blocks(path, *languages):
    return [text for language, text in BLOCK.findall(path.read_text(encoding='utf-8')) if language in languages]


def commands():
    """Every command of every shell block, split, without comments, prompts, and assignments before it."""
    found = {}
    for path, name in zip(DOCUMENTS, NAMES, strict=True):
        for block in blocks(path, 'bash', 'console', 'shell', 'sh'):
            for line in block.replace('\\\n', ' ').replace('&&', '\n').splitlines():
                words = shlex.split(line.removeprefix('$ '), comments=True)
                while words and ASSIGNMENT.match(words[0]):
                    words = words[1:]
                if words:
                    found.setdefault(tuple(words), name)
    return [pytest.param(list(words), id=f'{name}: {" ".join(words)[:70]}') for words, name in found.items()]


def of(program):
    return [parameter for parameter in commands() if parameter.values[0][0] == program]


def tool_call(words):
    """Path of a tool or an example and its arguments, when a command runs one."""
    place = next((index for index, word in enumerate(words) if word.startswith(('tools/', 'examples/'))), None)
    return None if place is None else (ROOT / words[place], words[place + 1 :])


def started_by(script, arguments, folder):
    """Path of the tool and its arguments that a shell script of ``tools/`` starts, by an interpreter that tells."""
    for name in ('tell', 'srun'):
        (folder / name).write_text('#!/bin/sh\necho "$@"\n')
        (folder / name).chmod(0o755)
    environment = {**os.environ, 'PYTHON': str(folder / 'tell'), 'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'}
    done = subprocess.run([script, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    place = next(index for index, word in enumerate(words) if word.endswith(('/train.py', '/test.py')))
    return Path(words[place]), words[place + 1 :]


SCRIPTS = sorted((ROOT / 'tools').glob('*.sh'))
TOOL_CALLS = [parameter for parameter in commands() if tool_call(parameter.values[0])]


def load_tool(path):
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call_tool(monkeypatch):
    """Run a tool's ``main`` on arguments in this process (importing OpenMMLab anew each time takes seconds)."""
    # the tools set it for the launchers
    monkeypatch.setenv('LOCAL_RANK', '0')

    def call(path, *arguments):
        monkeypatch.setattr(sys, 'argv', [str(path), *arguments])
        return load_tool(path).main()

    return call


def test_only_programs_that_are_checked_below():
    known = {'python', 'pip', 'make', 'git', 'torchrun', 'export', *(f'tools/{path.name}' for path in SCRIPTS)}
    assert {parameter.values[0][0] for parameter in commands()} <= known


RUN_BELOW = ('check_env', 'make_toy_data')


@pytest.mark.parametrize('words', [p for p in TOOL_CALLS if not any(name in str(p.values[0]) for name in RUN_BELOW)])
def test_tool_commands_parse(words, monkeypatch, tmp_path):
    path, arguments = tool_call(words)
    assert path.is_file()
    if path in SCRIPTS:
        path, arguments = started_by(path, arguments, tmp_path)
    if path.is_relative_to(ROOT / 'examples'):
        pytest.importorskip('fastapi')
        pytest.importorskip('httpx')
    module = load_tool(path)
    monkeypatch.setattr(sys, 'argv', [str(path), *arguments])
    monkeypatch.setenv('LOCAL_RANK', '0')
    module.parse_args()


@pytest.mark.parametrize('words', TOOL_CALLS)
def test_tool_commands_name_files_that_exist(words):
    for word in tool_call(words)[1]:
        if word.startswith(('configs/', 'docs/', 'requirements/')):
            assert (ROOT / word).is_file()
        elif '::' in word and importlib.util.find_spec(word.partition('::')[0]):
            assert find_config(word).is_file()


@pytest.mark.parametrize('words', of('make'))
def test_make_commands_have_their_targets(words):
    # without looking for a Python, which takes a second
    command = ['make', '--dry-run', f'PYTHON={sys.executable}', *words[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('words', of('pip'))
def test_pip_commands_install_what_the_requirements_say(words):
    assert words[1] == 'install'
    pins = {
        line.split('#')[0].strip()
        for path in (ROOT / 'requirements').glob('*.txt')
        for line in path.read_text().splitlines()
    }
    options = iter(words[2:])
    for word in options:
        if word == '-r':
            assert (ROOT / next(options)).is_file()
        elif word == '-e':
            assert (ROOT / next(options) / 'pyproject.toml').is_file()
        elif word.startswith('.['):
            for extra in word[2:-1].split(','):
                assert f'\n{extra} = {{ file = ' in (ROOT / 'pyproject.toml').read_text()
        elif not word.startswith('-'):
            assert word in pins


@pytest.mark.parametrize('words', [p for p in TOOL_CALLS if 'check_env' in str(p.values[0])])
def test_check_env_commands_run(words, call_tool, capsys):
    path, arguments = tool_call(words)
    assert call_tool(path, *arguments) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)['usable'] if '--json' in arguments else 'torch' in printed


@pytest.mark.parametrize('words', [p for p in TOOL_CALLS if 'make_toy_data' in str(p.values[0])])
def test_toy_data_commands_run(words, call_tool, tmp_path):
    path, arguments = tool_call(words)
    assert call_tool(path, *arguments, '--out', str(tmp_path / 'toy'), '--train', '2', '--val', '2') == 0
    assert (tmp_path / 'toy' / 'coco' / 'annotations' / 'instances_val2017.json').is_file()


PREDICTING = ('tools/predict.py', 'tools/export_triton.py')


def test_prediction_commands_run(call_tool, tmp_path, monkeypatch, capsys):
    """Those of the guides, one after the other, with a tiny network in the place of each artefact."""
    pytest.importorskip('onnx')
    import cv2
    import numpy as np

    from tests.fixtures.tiny_artefacts import make_detector

    monkeypatch.chdir(tmp_path)
    make_detector(tmp_path / 'work_dirs' / 'trtvit_b_onnx', masks=True)
    (tmp_path / 'photos' / 'below').mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    for name in ('a.jpg', 'b.png', 'below/a.jpg'):
        cv2.imwrite(f'photos/{name}', image)
    (tmp_path / 'photos' / 'list.txt').write_text('a.jpg\nbelow/a.jpg\n')
    video = cv2.VideoWriter('clip.mp4', cv2.VideoWriter.fourcc(*'mp4v'), 10, (60, 40))
    for _ in range(4):
        video.write(image)
    video.release()
    ran = []
    for page in ('predict.md', 'serve.md'):
        for block in blocks(ROOT / 'docs' / page, 'bash'):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                if tool_call(words) and words[1] in PREDICTING and '--checkpoint' not in words:
                    path, arguments = tool_call(words)
                    assert call_tool(path, *arguments) == 0, (line, capsys.readouterr().err)
                    ran.append(words[1])
    assert set(ran) == set(PREDICTING) and len(ran) >= 6


@pytest.mark.parametrize('path', sorted((ROOT / 'tools').glob('*.py')), ids=lambda path: path.name)
def test_tools_say_how_they_are_used(path, call_tool, capsys):
    with pytest.raises(SystemExit) as ended:
        call_tool(path, '--help')
    assert ended.value.code == 0
    assert 'usage:' in capsys.readouterr().out


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'README_zh-CN.md'])
def test_python_blocks_run(name, tmp_path, monkeypatch):
    if name == 'docs/pretrain.md':  # its network and image
        pytest.importorskip('onnx')
        import cv2
        import numpy as np

        from tests.fixtures.tiny_artefacts import make_classifier

        monkeypatch.chdir(tmp_path)
        make_classifier(tmp_path / 'work_dirs' / 'classifier')
        cv2.imwrite('photo.jpg', np.zeros((40, 60, 3), np.uint8))
    for block in blocks(ROOT / name, 'python'):
        exec(compile(block, name, 'exec'), {})


def anchors(path):
    """The anchors of a document's headings, as GitHub and MyST make them."""
    text = BLOCK.sub('', path.read_text(encoding='utf-8'))
    titles = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('name', NAMES)
def test_links_resolve(name):
    path = ROOT / name
    text = BLOCK.sub('', path.read_text(encoding='utf-8'))
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in target:
            continue
        file, _, anchor = target.partition('#')
        linked = (path.parent / file).resolve() if file else path
        assert linked.is_file(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize('name', NAMES)
def test_files_that_are_named_exist(name):
    text = (ROOT / name).read_text(encoding='utf-8')
    for file in re.findall(r'`((?:configs|docs|mmtrtvit|requirements|tools)/[\w./-]+\.\w+)`', text):
        assert (ROOT / file).is_file(), file


def test_every_page_of_the_documentation_is_in_its_index():
    index = (ROOT / 'docs' / 'index.md').read_text()
    pages = {path.stem for path in (ROOT / 'docs').glob('*.md')} - {'index'}
    listed = {line for block in re.findall(r'```{toctree}\n(.*?)```', index, re.DOTALL) for line in block.splitlines()}
    assert pages <= listed


def test_both_readmes_have_the_same_commands_and_tables():
    english, chinese = (ROOT / 'README.md', ROOT / 'README_zh-CN.md')
    markers = [re.findall(r'<!-- table: (\S+) -->', path.read_text(encoding='utf-8')) for path in (english, chinese)]
    assert markers[0] == markers[1]
    without_comments = [
        [re.sub(r'\s*#.*', '', block) for block in blocks(path, 'bash', 'python')] for path in (english, chinese)
    ]
    assert without_comments[0] == without_comments[1]


@pytest.mark.slow
def test_tables_metafile_and_plots_are_up_to_date():
    assert not update_documents(ROOT, check=True), 'run python tools/dev/update_pages.py'


def test_no_page_names_a_path_of_a_machine():
    for name in NAMES:
        assert not re.search(r'(?<![\w.])/(?:home|root|work|tmp|mnt)/', (ROOT / name).read_text(encoding='utf-8')), name
