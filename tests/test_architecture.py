"""The direction of imports, and what importing a part of the package brings along."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'mmtrtvit'

FOLDERS = (
    *('runtime', 'prediction', 'serving', 'datasets', 'engine', 'models', 'weights', 'visualization'),
    *('deploy', 'zoo', 'testing', 'benchmark', 'roofline', 'report', 'study', 'apis'),
)
"""Folders of the package from the ground up, above its own modules. A folder imports from those before it only."""

DEPLOY = ('export', 'precision', 'request', 'engines', 'proof')
"""The same inside ``deploy``, below its own modules."""

FRAMEWORKS = {
    'torch',
    'torchvision',
    'mmengine',
    'mmcv',
    'mmdet',
    'mmseg',
    'mmpretrain',
    'mmdeploy',
    'onnx',
    'onnxslim',
}
"""Packages that the runtime does without."""


def modules() -> Iterator[tuple[tuple[str, ...], ast.Module]]:
    """Path and syntax tree of every module; ``__init__`` is the last part of a package's own."""
    for file in sorted((ROOT / PACKAGE).rglob('*.py')):
        yield file.relative_to(ROOT).with_suffix('').parts, ast.parse(file.read_text())


def imports(module: tuple[str, ...], tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """Path of everything that a module imports, inside functions as well; the last part may be a name in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split('.')) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = module[: len(module) - node.level] if node.level else ()
            path = (*start, *(node.module or '').split('.')) if node.module else start
            yield from ((*path, alias.name) for alias in node.names)


def children_of(folder: tuple[str, ...]) -> set[str]:
    return {path.stem for path in (ROOT / Path(*folder)).iterdir() if path.suffix == '.py' or path.is_dir()}


def edges() -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Folder, one of its children, and the child that this one imports, however deep either import is."""
    for module, tree in modules():
        for target in imports(module, tree):
            common = 0
            while common < min(len(module), len(target)) and module[common] == target[common]:
                common += 1
            folder = module[:common]
            if common and common < len(module):
                name = target[common] if common < len(target) else '__init__'
                yield folder, module[common], name if name in children_of(folder) else '__init__'


def test_folders_import_from_the_ground_up():
    place = {name: number for number, name in enumerate(FOLDERS)}
    assert {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir() and path.name[0] not in '._'} == set(
        place
    )
    upwards = {
        (user, used)
        for folder, user, used in edges()
        if folder == (PACKAGE,) and place.get(user, -1) < place.get(used, -1)
    }
    assert not upwards
    place = {name: number for number, name in enumerate(DEPLOY)}
    upwards = {
        (user, used)
        for folder, user, used in edges()
        if folder == (PACKAGE, 'deploy') and place.get(user, 99) < place.get(used, 99)
    }
    assert not upwards


def test_nothing_imports_in_a_circle():
    """Neither modules nor folders, at any depth."""
    graphs = {}
    for folder, user, used in edges():
        if user != used:
            graphs.setdefault(folder, {}).setdefault(user, set()).add(used)
    for folder, graph in graphs.items():
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            pytest.fail(f'{"/".join(folder)}: {" <- ".join(error.args[1])}')


def test_only_packages_import_by_name():
    """``importlib.import_module('.name', ...)`` hides an import from the tests above."""
    hidden = {
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('import_module') and len(node.args) > 1
    }
    assert {module[-1] for module in hidden} <= {'__init__'}


def test_the_runtime_needs_no_framework():
    users = {
        ('/'.join(module), target[0])
        for module, tree in modules()
        if module[1] in ('runtime', 'prediction', 'serving')
        for target in imports(module, tree)
        if target[0] in FRAMEWORKS
    }
    assert users == {('mmtrtvit/runtime/backends/tensorrt/session', 'torch')}


# --- in a fresh interpreter -----------------------------------------------------------------------------------------


@pytest.fixture
def program(fresh):
    """Run a program where PyTorch has been imported, but nothing of OpenMMLab; what it prints."""

    def run(code: str) -> str:
        done = fresh(code, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize(
    'line',
    [
        'import mmtrtvit',
        'from mmtrtvit.runtime import load',
        'from mmtrtvit.deploy import load',
        'import mmtrtvit.prediction',
        'import mmtrtvit.serving.triton',
    ],
)
def test_the_runtime_is_free_of_frameworks_where_they_are_installed(line):
    code = f"{line}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not FRAMEWORKS & set(done.stdout.split())


REGISTERED = """
from mmengine.config import Config
from mmengine.registry import MODELS, HOOKS, FUNCTIONS
Config.fromstring("custom_imports = dict(imports=['mmtrtvit'], allow_failed_imports=False)", '.py')
import mmtrtvit
assert MODELS.get('TRTViT') is MODELS.get('mmtrtvit.TRTViT') is mmtrtvit.models.TRTViT
assert HOOKS.get('RandomnessHook') is HOOKS.get('mmtrtvit.RandomnessHook') is mmtrtvit.engine.RandomnessHook
assert FUNCTIONS.get('seed_worker') is mmtrtvit.engine.seed_worker
"""


@pytest.mark.parametrize(
    'before',
    ['import mmengine', 'import mmtrtvit', 'import mmtrtvit.deploy, mmdet', 'from mmtrtvit.models import NextViT'],
)
def test_a_config_registers_everything_whatever_was_imported_before(program, before):
    program(before + REGISTERED)


def test_an_environment_that_lacks_a_part_is_told_and_breaks_nothing_else(program):
    """mmengine may be there for another program, and this package for its runtime; a config asks for the backbones."""
    program("""
import sys, warnings
sys.modules['mmcv'] = None
from mmtrtvit.runtime import load
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter('always')
    import mmengine
assert any('mmcv is missing' in str(warning.message) for warning in told)
for name in [name for name in sys.modules if name.startswith('mmtrtvit')]:
    del sys.modules[name]
try:
    import mmtrtvit
except ImportError as error:
    assert 'mmcv is missing' in str(error)
else:
    raise AssertionError
""")


@pytest.mark.parametrize('name', ['TRTViT', 'mmtrtvit.TRTViT'])
def test_a_scoped_name_needs_no_import(program, name):
    scoped = program(f"from mmengine.registry import MODELS\nprint(MODELS.get('{name}'))")
    assert ('TRTViT' in scoped) == ('.' in name)


WITHOUT_OPERATORS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(('mmcv._ext', 'mmcv.ops', 'mmdet', 'mmseg', 'mmpretrain', 'mmdeploy', 'torchvision')):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Blocker())
"""


def test_backbones_need_mmengine_and_the_python_part_of_mmcv_only(program):
    program(f"""{WITHOUT_OPERATORS}
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
Config.fromstring("custom_imports = dict(imports=['mmtrtvit'], allow_failed_imports=False)", '.py')
from mmtrtvit.engine import RandomnessHook
from mmtrtvit.models import EfficientFormer, NextViT, TRTViT, TurboViT
for kind in (TRTViT, NextViT, EfficientFormer, TurboViT):
    backbone = MODELS.build(dict(type=kind.__name__, arch=min(kind.arch_settings))).eval().double()
    assert type(backbone) is kind
    image = torch.rand(1, 3, 64, 96, dtype=torch.double)
    with torch.no_grad():
        before = backbone(image)
        backbone.switch_to_deploy()
        after = backbone(image)
    assert [tuple(map_.shape[2:]) for map_ in before] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    for one, other in zip(before, after):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
""")


def test_the_gpu_suite_is_collected_where_backbones_are_all_there_is(program):
    """A machine with a GPU and PyTorch, and the wheels of ``tools/dev/gpu_suite.py gather``."""
    told = program(f"""{WITHOUT_OPERATORS}
for name in ('timm', 'mmpretrain', 'openvino', 'pycocotools', 'skimage', 'fvcore'):
    sys.modules[name] = None
import pytest
import mmtrtvit.benchmark
sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', {str(ROOT / 'tests' / 'test_gpu')!r}]))
""")
    assert 'test_torch.py' in told and 'test_tensorrt.py' in told


def test_a_whole_network_asks_for_the_operators(program):
    told = program(f"""{WITHOUT_OPERATORS}
from mmtrtvit.config import load_config
try:
    load_config('configs/maskrcnn_trtvit_b_coco.py')
except ImportError as error:
    print(error)
""")
    assert 'mmtrtvit cannot be used in this environment: mmcv compiled ops' in told and 'Fix: MMCV_WITH_OPS=1' in told


UNCHANGED = """
import os, sys, types, warnings
import mmcv, mmcv.ops, mmdeploy, mmdet, mmengine, mmengine.runner, mmseg, onnx, torch
from mmdeploy.apis import torch2onnx
from mmdeploy.core import FUNCTION_REWRITER, MODULE_REWRITER, SYMBOLIC_REWRITER
from mmdet.utils import register_all_modules
import mmengine.registry as registries
register_all_modules(False)

LIBRARIES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmdeploy', 'onnx')

def snapshot():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] in LIBRARIES and module is not None:
            for key, value in list(vars(module).items()):
                found[name, key] = value
                if isinstance(value, type) and value.__module__ == name:
                    found.update({(name, key, attribute): at for attribute, at in vars(value).items()})
    for key, value in vars(registries).items():
        if isinstance(value, registries.Registry):
            found.update({('registry', key, name): kind for name, kind in value.module_dict.items()})
    for rewriter in (FUNCTION_REWRITER, MODULE_REWRITER, SYMBOLIC_REWRITER):
        records = rewriter._registry._rewrite_records
        found.update({('rewriters', name): list(map(str, record)) for name, record in records.items()})
    found['safe globals'] = torch.serialization.get_safe_globals()
    found['filters'] = list(warnings.filters)
    found['environment'] = dict(os.environ)
    found['threads'] = torch.get_num_threads()
    found['excepthook'] = sys.excepthook
    return found

def same(one, other):
    return one is other or (type(one) in (list, dict, int) and one == other)

before = snapshot()
import mmtrtvit, mmtrtvit.models, mmtrtvit.engine, mmtrtvit.runtime
after = snapshot()
changed = [key for key, value in before.items() if key not in after or not same(value, after[key])]
new = set(after) - set(before)
print(changed, [key for key in new if key[0] == 'rewriters'])
print({after[key].__module__.partition('.')[0] for key in new if key[0] == 'registry'})
"""


def test_importing_changes_nothing_in_other_libraries(program):
    """Every attribute of their modules and classes is the same object; what is new in registries is our own."""
    assert program(UNCHANGED).splitlines()[-2:] == ['[] []', "{'mmtrtvit'}"]
