"""The environment is judged rightly, in one message, also where nothing is installed."""

import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / 'mmtrtvit' / 'environment.py'
CHECK_ENV = ROOT / 'tools' / 'check_env.py'

NAMES_IN_TABLE = ['Python', 'torch', 'OpenCV', 'mmengine', 'mmcv', 'mmcv compiled ops', 'mmdet', 'mmseg', 'mmpretrain']
NAMES_IN_TABLE += ['mmdeploy', 'onnx', 'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx', 'GPU']


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location('environment_under_test', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(monkeypatch):
    """The module, loaded apart from the package: it has to work where the package cannot be imported."""
    monkeypatch.setattr(sys, 'excepthook', sys.excepthook)  # restored at the end: require() replaces it
    monkeypatch.delenv('MMTRTVIT_ANY_VERSION', raising=False)
    yield load(SOURCE)
    del sys.modules['environment_under_test']


@pytest.fixture
def pretend(monkeypatch, environment):
    """Sets what is installed, as ``pretend(mmcv='2.3.6', mmdet=None)``. At first all required is right."""

    def put(**versions):
        for name, version in versions.items():
            name = name.replace('__', '.')
            module = None
            if version is not None:
                module = ModuleType(name)
                module.__version__ = version
            monkeypatch.setitem(sys.modules, name, module)

    monkeypatch.setattr(environment, 'installed', lambda distributions: [])
    put(
        torch='2.13.0+cpu',
        torchvision=None,
        cv2='4.12.0',
        mmengine='0.10.12',
        mmcv='2.3.6',
        mmdet='3.5.1',
        mmseg='1.4.2',
    )
    put(mmcv___ext='')
    optional = ('mmpretrain', 'mmdeploy', 'onnx', 'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx')
    put(**dict.fromkeys(optional))
    sys.modules['torch'].version = SimpleNamespace(cuda=None)
    sys.modules['torch'].cuda = SimpleNamespace(is_available=lambda: False)
    return put


def message_of(environment) -> str:
    with pytest.raises(ImportError) as caught:
        environment.require(networks=True)
    assert isinstance(caught.value, environment.EnvironmentProblem)
    message = str(caught.value)
    assert message.count('Fix:') == 1
    return message


def fixing_command(message: str) -> str:
    return re.search(r'^Fix: (.*)$', message, re.MULTILINE).group(1)


@pytest.mark.parametrize(
    ('version', 'wanted', 'expected'),
    [
        ('2.13.0+cpu', '>=2.4,<2.14', True),
        ('2.14.0a0+git12', '>=2.4,<2.14', False),
        ('2.4', '>=2.4.0', True),
        ('2.10.0', '>=2.4,<2.14', True),
        ('2.3.9', '>=2.4', False),
        ('1.2.2', '==1.2.2', True),
        ('1.2.2.post1', '>1.2.2', False),
        ('unknown version', '>=1', True),
        ('0.1', '', True),
    ],
)
def test_versions_are_compared_by_number(environment, version, wanted, expected):
    assert environment.in_range(version, wanted) is expected


@pytest.mark.parametrize('stack', ['onedl', 'upstream'])
def test_pins_are_those_of_the_requirement_files_and_work(environment, monkeypatch, stack):
    monkeypatch.setattr(environment, 'stack', lambda: stack)
    lines = {line for file in (ROOT / 'requirements').glob('*.txt') for line in file.read_text().splitlines()}
    parts = {part.name: part for part in environment.PARTS}
    pinned = ['torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmdeploy', 'openvino', 'tensorrt_rtx']
    for name in pinned:
        assert parts[name].requirement in lines
        assert environment.in_range(parts[name].requirement.split('==')[1], parts[name].wanted)
    for name in ('onnx', 'onnxruntime'):
        assert parts[name].requirement == f'{name}{parts[name].wanted}' and parts[name].requirement in lines
    onedl = [name for name in pinned if parts[name].requirement.startswith('onedl-')]
    assert onedl == (['mmengine', 'mmcv', 'mmdet', 'mmseg'] if stack == 'onedl' else [])


def test_a_part_without_a_pin_is_asked_for_by_the_versions_that_work(environment, pretend):
    part = next(part for part in environment.PARTS if part.name == 'tensorrt')
    assert part.requirement == f'tensorrt{part.wanted}'


def test_the_table_names_every_part(environment):
    names = [part.name for part in environment.PARTS]
    assert [name for name in names if name in NAMES_IN_TABLE] == NAMES_IN_TABLE


def test_a_right_environment_passes(environment, pretend):
    environment.require(networks=True)


def test_backbones_need_neither_operators_nor_mmdet_nor_mmseg(environment, pretend):
    pretend(mmcv___ext=None, mmdet=None, mmseg=None)
    environment.require()


@pytest.mark.parametrize(
    ('gone', 'names', 'command'),
    [
        ('torch', 'torch is missing', 'pip install "torch==2.13.0"'),
        ('mmengine', 'mmengine is missing', 'pip install "onedl-mmengine==0.10.12"'),
        ('mmcv', 'mmcv is missing', 'pip install --no-build-isolation onedl-mmcv==2.3.6'),
    ],
)
def test_a_missing_part_is_named_with_its_command(environment, pretend, gone, names, command):
    pretend(**{gone: None})
    message = message_of(environment)
    assert names in message
    assert fixing_command(message).endswith(command)


def test_mmcv_without_compiled_ops_is_built_again(environment, pretend):
    pretend(mmcv___ext=None)
    message = message_of(environment)
    assert 'mmcv compiled ops' in message
    command = fixing_command(message)
    assert command.startswith('MMCV_WITH_OPS=1 ')
    # pip would find the requirement satisfied, or bring the same wheel again from its cache.
    for option in ('--force-reinstall', '--no-cache-dir', '--no-build-isolation', 'onedl-mmcv==2.3.6'):
        assert option in command


def test_the_upstream_stack_is_fixed_with_its_own_distributions(environment, pretend, monkeypatch):
    monkeypatch.setattr(environment, 'installed', lambda names: ['mmengine'] if 'mmengine' in {*names} else [])
    pretend(mmengine='0.10.7', mmcv='2.1.0', mmcv___ext=None)
    assert fixing_command(message_of(environment)).count('mmcv==2.1.0') == 1
    assert 'onedl' not in message_of(environment)


@pytest.mark.parametrize('gone', ['mmdet', 'mmseg'])
def test_one_of_mmdet_and_mmseg_is_enough(environment, pretend, gone):
    pretend(**{gone: None})
    environment.require(networks=True)
    reports = {report.name: report for report in environment.inspect_environment()}
    assert (reports[gone].status, reports[gone].required) == ('missing', False)


def test_neither_mmdet_nor_mmseg_is_not_enough(environment, pretend):
    pretend(mmdet=None, mmseg=None)
    assert fixing_command(message_of(environment)).endswith('pip install "onedl-mmdetection==3.5.1"')


@pytest.mark.parametrize(('name', 'version'), [('torch', '2.14.0'), ('mmcv', '1.7.2'), ('mmengine', '1.0')])
def test_a_version_out_of_range_is_refused_unless_told_otherwise(environment, pretend, monkeypatch, name, version):
    pretend(**{name: version})
    message = message_of(environment)
    assert f'{name} does not work (version {version} is not ' in message
    assert 'MMTRTVIT_ANY_VERSION=1' in message
    monkeypatch.setenv('MMTRTVIT_ANY_VERSION', '1')
    with pytest.warns(UserWarning, match=f'version {version} is not'):
        environment.require()


def test_a_torchvision_that_fails_to_import_is_named_before_mmengine(environment, pretend, monkeypatch, tmp_path):
    error = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    for module in ('torchvision', 'mmengine'):
        (tmp_path / f'{module}.py').write_text(error)
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(tmp_path)
    message = message_of(environment)
    assert 'torchvision does not work (RuntimeError: operator torchvision::nms does not exist)' in message
    assert 'pip uninstall -y torchvision' in fixing_command(message)
    assert '0.28 with 2.13' in fixing_command(message)


@pytest.mark.parametrize(
    ('body', 'problem'),
    [
        ("raise OSError('libcudart.so.12: cannot open shared object file')", 'OSError: libcudart.so.12'),
        ("raise AssertionError('MMCV==2.3.6 is used but incompatible')", 'AssertionError: MMCV==2.3.6'),
        ('raise SystemExit(3)', 'SystemExit: 3'),
        ('import a_module_that_is_not_there', 'ModuleNotFoundError'),
        ('syntax error', 'SyntaxError'),
    ],
)
def test_whatever_an_import_raises_is_a_row(environment, pretend, monkeypatch, tmp_path, capsys, body, problem):
    (tmp_path / 'onnx.py').write_text(f"print('noise')\n{body}\n")
    monkeypatch.delitem(sys.modules, 'onnx', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    part = next(part for part in environment.PARTS if part.name == 'onnx')
    (report,) = environment.inspect_environment([part])
    assert (report.status, report.required) == ('wrong', False)
    assert problem in report.problem
    assert 'onnx' in report.fix
    assert capsys.readouterr().out == ''


def test_two_distributions_over_one_import_name_are_reported(environment, monkeypatch, tmp_path):
    for name in ('mmpretrain', 'onedl_mmpretrain'):
        folder = tmp_path / f'{name}-1.2.3.dist-info'
        folder.mkdir()
        (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name.replace("_", "-")}\nVersion: 1.2.3\n')
    monkeypatch.syspath_prepend(tmp_path)
    part = next(part for part in environment.PARTS if part.name == 'mmpretrain')
    (remark,) = environment.inspect_part(part).remarks
    assert 'onedl-mmpretrain and mmpretrain are installed over one import name' in remark
    assert 'uninstall -y onedl-mmpretrain mmpretrain' in remark


def test_importing_with_two_distributions_warns(environment, pretend, monkeypatch):
    monkeypatch.setattr(
        environment, 'installed', lambda names: ['onedl-mmcv', 'mmcv'] if 'mmcv-lite' in {*names} else []
    )
    with pytest.warns(UserWarning, match='onedl-mmcv and mmcv are installed over one import name'):
        environment.require()


@pytest.mark.parametrize(
    ('version', 'words', 'status'),
    [
        ('10.0.1', 'in the ONNX file; experimental before TensorRT 10.12', 'ok'),
        ('10.11.0', 'in the ONNX file; experimental before TensorRT 10.12', 'ok'),
        ('10.12.0.36', 'strongly typed engines: FP32, FP16, BF16 and INT8, by the types in the ONNX file', 'ok'),
        ('11.4.0.106', 'strongly typed engines: FP32, FP16, BF16 and INT8, by the types in the ONNX file', 'ok'),
        ('12.0', None, 'wrong'),
        ('8.6.1', None, 'wrong'),
    ],
)
def test_what_a_tensorrt_can_do_is_said_by_its_series(environment, pretend, version, words, status):
    pretend(tensorrt=version)
    reports = {report.name: report for report in environment.inspect_environment()}
    assert reports['tensorrt'].status == status
    assert reports['tensorrt'].found == version
    if words:
        assert any(remark.endswith(words) for remark in reports['tensorrt'].remarks)


def test_the_series_of_tensorrt_are_those_of_its_bindings(environment, root):
    """The first version with each name is the one that the remarks and the refusals speak of."""
    table = json.loads((root / 'tests' / 'data' / 'tensorrt_api.json').read_text())
    versions = [version for version in table['distributions'] if not version.startswith('rtx')]

    def having(cls, name):
        return [version for version in versions if version in table['classes'][cls].get(name, {})]

    first = environment.TENSORRT_LOWEST
    assert having('NetworkDefinitionCreationFlag', 'STRONGLY_TYPED') == [
        version for version in versions if environment.release(version) >= first
    ]
    for flag in ('FP16', 'INT8'):
        assert having('BuilderFlag', flag) == [
            version for version in versions if environment.release(version) < environment.TENSORRT_WITHOUT_FLAGS
        ]


def test_the_first_thing_wrong_is_a_required_one(environment, pretend):
    pretend(mmseg='0.1', onnx='0.1')
    assert environment.first_problem(environment.inspect_environment()).name == 'mmseg'
    pretend(mmcv___ext=None)
    assert environment.first_problem(environment.inspect_environment()).name == 'mmcv compiled ops'


def test_optional_parts_that_are_missing_are_no_problem(environment, pretend, capsys):
    reports = environment.inspect_environment()
    assert environment.first_problem(reports) is None
    environment.print_report(reports)
    assert 'Everything that is required is here.' in capsys.readouterr().out


@pytest.mark.parametrize(('compiled', 'remarks'), [('not available', 1), ('12.8', 0)])
def test_ops_without_cuda_beside_a_gpu_are_remarked(environment, pretend, compiled, remarks):
    sys.modules['torch'].cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 1, get_device_name=lambda index: 'Some GPU'
    )
    sys.modules['mmcv._ext'].get_compiling_cuda_version = lambda: compiled
    reports = {report.name: report for report in environment.inspect_environment()}
    assert reports['GPU'].found == 'Some GPU'
    assert reports['mmcv compiled ops'].found == ('CUDA 12.8' if compiled == '12.8' else 'CPU')
    assert sum('Some GPU' in remark for remark in reports['mmcv compiled ops'].remarks) == remarks


def run(*command, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, cwd=cwd)


def test_check_env_works_where_nothing_is_installed():
    done = run('-I', '-S', CHECK_ENV)
    assert done.returncode == 1
    assert done.stderr == ''
    rows = {re.split(r'  +', line)[0]: line for line in done.stdout.splitlines()}
    for name in NAMES_IN_TABLE:
        assert name in rows
    assert re.search(r'missing +required', rows['torch'])
    assert re.search(r'missing +optional', rows['onnx'])
    assert 'First thing wrong: torch is missing' in done.stdout
    assert re.search(r'^Fix: .*pip install "torch==2\.13\.0"$', done.stdout, re.MULTILINE)


def test_check_env_prints_json():
    done = run('-I', '-S', CHECK_ENV, '--json')
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer['usable'] is False
    parts = {part['name']: part for part in answer['parts']}
    assert set(NAMES_IN_TABLE) <= set(parts)
    assert parts['Python']['status'] == 'ok'
    assert parts['mmcv']['status'] == 'missing'
    assert 'onedl-mmcv==2.3.6' in parts['mmcv']['fix']


def test_check_env_finds_the_installed_package(tmp_path):
    tools = tmp_path / 'mmtrtvit' / '.mim' / 'tools'
    tools.mkdir(parents=True)
    shutil.copy(CHECK_ENV, tools)
    shutil.copy(SOURCE, tmp_path / 'mmtrtvit')
    done = run('-I', '-S', tools / 'check_env.py', '--json')
    assert json.loads(done.stdout)['usable'] is False


def test_check_env_alone_says_so(tmp_path):
    shutil.copy(CHECK_ENV, tmp_path)
    done = run('-I', '-S', tmp_path / 'check_env.py')
    assert done.returncode == 1
    assert done.stderr.startswith('Error: ')


def test_check_env_accepts_this_environment(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(CHECK_ENV)])
    assert runpy.run_path(str(CHECK_ENV))['main']() == 0
    printed = capsys.readouterr().out
    for name in NAMES_IN_TABLE:
        assert name in printed


TOOL = "import runpy; runpy.run_path('tools/visualize.py', run_name='__main__')"


@pytest.mark.slow
def test_a_command_without_ops_prints_the_message_alone():
    code = f"import sys; sys.modules['mmcv._ext'] = None; {TOOL}"
    done = run('-c', code, 'configs/maskrcnn_trtvit_b_coco.py', 'none.pth', '--out', 'none', cwd=ROOT)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'Error: mmtrtvit cannot be used in this environment: mmcv compiled ops' in done.stderr
    assert '--force-reinstall' in fixing_command(done.stderr)
    assert str(CHECK_ENV) in done.stderr


@pytest.mark.parametrize('line', ['from mmtrtvit.models import TRTViT', 'import mmtrtvit.apis', TOOL])
def test_without_torch_the_message_is_printed_alone(line):
    done = run('-c', f"import sys; sys.modules['torch'] = None; {line}", 'c.py', 'x.pth', '--out', 'o', cwd=ROOT)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'Error: mmtrtvit cannot be used in this environment: torch is missing' in done.stderr


@pytest.mark.parametrize('tool', ['visualize.py', 'check_data.py', 'make_toy_data.py'])
def test_without_the_libraries_of_a_desktop_the_headless_opencv_is_named(fresh, tool, tmp_path):
    (tmp_path / 'cv2.py').write_text("raise ImportError('libGL.so.1: cannot open shared object file: No such file')")
    code = f'import sys; sys.path.insert(0, {str(tmp_path)!r}); {TOOL.replace("visualize.py", tool)}'
    arguments = {'visualize.py': ('c.py', 'x.pth', '--out', 'o'), 'check_data.py': ('c.py',)}.get(tool, ())
    done = fresh(code, *arguments, cwd=ROOT)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'opencv-python-headless' in done.stderr and '--force-reinstall' not in done.stderr
