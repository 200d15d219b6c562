"""Every name of TensorRT that the sources use is in every version that they serve, with such parameters.

The table of names is made of the bindings of each version (``tools/dev/tensorrt_api.py``). Types are followed through
assignments, return values and annotations; what stands under ``hasattr`` has to be in the versions that have it.
"""

import ast
import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
API = json.loads((ROOT / 'tests' / 'data' / 'tensorrt_api.json').read_text())
VERSIONS = frozenset(API['distributions'])
RTX = frozenset(version for version in VERSIONS if version.startswith('rtx'))
PACKAGE = ROOT / 'mmtrtvit'
SOURCES = [
    PACKAGE / 'deploy' / 'engines' / 'tensorrt_worker.py',
    PACKAGE / 'runtime' / 'backends' / 'tensorrt' / 'session.py',
]

RTX_ONLY = {'ComputeCapability', 'num_compute_capabilities', 'set_compute_capability'}
"""Reached with targets only, which build_engine refuses for TensorRT (tested in test_tensorrt_builder.py)."""

OF_THE_BINDINGS = {'__version__'}
"""Set by the package around the extension module, in all versions."""


class Uses(ast.NodeVisitor):
    """Collects (class or 'module', attribute, versions that need it, number of arguments or None, line)."""

    def __init__(self, tree):
        self.found, self.versions = [], VERSIONS
        self.returns = {
            node.name: self.annotated(node.returns) for node in tree.body if isinstance(node, ast.FunctionDef)
        }
        self.types = {}
        self.visit(tree)

    def annotated(self, node):
        """What an annotation names: a class, a tuple of them, or nothing of TensorRT."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode='eval').body
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == 'trt':
            return node.attr
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            return tuple(self.annotated(part) for part in node.slice.elts)
        return None

    def use(self, owner, attribute, node, arguments=None):
        if not attribute.startswith('__') or owner == 'module':
            self.found.append((owner, attribute, self.versions, arguments, node.lineno))

    def type_of(self, node):
        """Class of an expression; ('class', name) for a class itself. Notes nothing."""
        if isinstance(node, ast.Name):
            return 'module' if node.id == 'trt' else self.types.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.type_of(node.value)
            if owner == 'module':
                return ('class', node.attr) if node.attr in API['classes'] else None
            if isinstance(owner, tuple) and owner[0] == 'class':
                return ('class', node.attr) if node.attr in API['classes'] else None
            return self.types.get(ast.unparse(node))
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in self.returns:
                return self.returns[function.id]
            called = self.type_of(function)
            if isinstance(called, tuple) and called[0] == 'class':
                return called[1]
            if isinstance(function, ast.Attribute):
                owner = self.type_of(function.value)
                signatures = (
                    [
                        signature
                        for found in API['classes'].get(owner, {}).get(function.attr, {}).values()
                        if isinstance(found, list)
                        for signature in found
                    ]
                    if isinstance(owner, str)
                    else []
                )
                results = {signature.split('-> ')[1] for signature in signatures} & set(API['classes'])
                return results.pop() if len(results) == 1 else None
        return None

    def bind(self, target, type):
        if isinstance(target, ast.Tuple) and isinstance(type, tuple) and type[0] != 'class':
            for part, one in zip(target.elts, type, strict=True):
                self.bind(part, one)
        elif isinstance(target, ast.Name | ast.Attribute) and type:
            self.types[ast.unparse(target)] = type

    def visit_FunctionDef(self, node):
        for argument in node.args.args:
            self.bind(ast.Name(argument.arg), self.annotated(argument.annotation))
        self.generic_visit(node)

    def visit_Assign(self, node):
        self.generic_visit(node)
        for target in node.targets:
            self.bind(target, self.type_of(node.value))

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)
        self.bind(node.target, self.annotated(node.annotation) or self.type_of(node.value))

    def guard(self, test):
        """Versions in which hasattr(x, 'name') holds, or None."""
        if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == 'hasattr':
            owner, name = self.type_of(test.args[0]), test.args[1].value
            owner = owner[1] if isinstance(owner, tuple) else owner  # a class rather than an object
            having = API['names'] if owner == 'module' else API['classes'][owner]
            return frozenset(having[name])
        return None

    def visit_branches(self, node):
        having = self.guard(node.test)
        self.visit(node.test)
        before = self.versions
        for branch, versions in ((node.body, having), (node.orelse, having and VERSIONS - having)):
            self.versions = before if versions is None else before & versions
            for part in branch if isinstance(branch, list) else [branch]:
                self.visit(part)
        self.versions = before

    visit_If = visit_IfExp = visit_branches

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute):
            owner = self.type_of(node.func.value)
            if isinstance(owner, str) and owner != 'module':
                self.use(owner, node.func.attr, node, len(node.args) + len(node.keywords))
                self.visit(node.func.value)
            else:
                called = self.type_of(node.func)
                if isinstance(called, tuple):
                    self.found.append((called[1], '__init__', self.versions, len(node.args), node.lineno))
                self.visit(node.func)
        else:
            self.visit(node.func)
        for part in [*node.args, *node.keywords]:
            self.visit(part)

    def visit_Attribute(self, node):
        owner = self.type_of(node.value)
        if owner == 'module':
            self.use('module', node.attr, node)
        elif isinstance(owner, str):
            self.use(owner, node.attr, node)
        elif isinstance(owner, tuple) and owner[0] == 'class':
            self.use(owner[1], node.attr, node)
        self.visit(node.value)


def uses_of(path):
    tree = ast.parse(path.read_text())
    # annotations alone name classes that exist at run time in some versions only
    return Uses(tree).found


def number_fits(signature, number):
    names = [name for name in signature.split('->')[0].split(',') if name.strip()]
    return sum(not name.strip().endswith('=') for name in names) <= number <= len(names)


def problems(found):
    for owner, attribute, versions, arguments, line in found:
        needed = versions & RTX if attribute in RTX_ONLY else versions
        if attribute in OF_THE_BINDINGS:
            continue
        for version in sorted(needed):
            if owner == 'module':
                if version not in API['names'].get(attribute, ()):
                    yield f'line {line}: TensorRT {version} has no {attribute}'
                continue
            what = API['classes'][owner].get(attribute, {}).get(version)
            if what is None:
                # its own members are no business of TensorRT: a class derived from one of its
                if owner not in ('ILogger', 'IOutputAllocator', 'IProgressMonitor'):
                    yield f'line {line}: {owner} of TensorRT {version} has no {attribute}'
            elif (
                arguments is not None
                and isinstance(what, list)
                and not any(number_fits(one, arguments) for one in what)
            ):
                yield f'line {line}: {owner}.{attribute} of TensorRT {version} takes {what}, not {arguments}'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.stem)
def test_every_name_is_in_every_version(path):
    assert not list(problems(uses_of(path)))


def test_the_search_sees_what_is_there():
    """Names that it has to have followed, through constructors, return values, annotations and attributes of self."""
    build, session = ({(use[0], use[1]) for use in uses_of(path)} for path in SOURCES)
    assert {
        ('module', 'Builder'),
        ('Builder', '__init__'),
        ('Builder', 'create_network'),
        ('Builder', 'build_serialized_network'),
        ('OnnxParser', 'parse_from_file'),
        ('ParserError', 'node_name'),
        ('IBuilderConfig', 'set_timing_cache'),
        ('ITimingCache', 'serialize'),
        ('IOptimizationProfile', 'set_shape'),
        ('Runtime', 'deserialize_cuda_engine'),
        ('module', 'init_libnvinfer_plugins'),
        ('EngineInspector', 'get_engine_information'),
        ('EngineInspector', 'execution_context'),
        ('IExecutionContext', 'set_input_shape'),
        ('ICudaEngine', 'device_memory_size'),
        ('ICudaEngine', 'device_memory_size_v2'),
        ('MemoryPoolType', 'WORKSPACE'),
        ('BuilderFlag', 'TF32'),
        ('Severity', 'VERBOSE'),
    } <= build
    assert {
        ('module', 'init_libnvinfer_plugins'),
        ('ICudaEngine', 'get_tensor_profile_shape'),
        ('ICudaEngine', 'num_io_tensors'),
        ('IExecutionContext', 'execute_async_v3'),
        ('IExecutionContext', 'set_output_allocator'),
        ('IExecutionContext', 'set_tensor_address'),
        ('IExecutionContext', 'get_tensor_shape'),
        ('TensorIOMode', 'INPUT'),
    } <= session
    assert {use[1] for use in uses_of(SOURCES[0]) if use[2] & {'10.0.1', '11.4.0'} == {'10.0.1'}} == {
        'NetworkDefinitionCreationFlag',
        'EXPLICIT_BATCH',
        'device_memory_size',
    }


@pytest.mark.parametrize(
    'source, said',
    [
        ('trt.Builder(log).max_workspace_size', 'Builder of TensorRT 11.4.0 has no max_workspace_size'),
        ('trt.BuilderFlag.FP16', 'BuilderFlag of TensorRT 11.4.0 has no FP16'),
        ('trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH', 'TensorRT rtx-1.7.1 has no EXPLICIT_BATCH'),
        ('trt.Builder(log).create_network(1, 2)', "takes ['flags= -> INetworkDefinition'], not 2"),
        ('trt.Builder()', 'Builder.__init__ of TensorRT'),
        ('e = trt.Runtime(log).deserialize_cuda_engine(b)\ne.get_binding_index("x")', 'has no get_binding_index'),
        ('def f(c: "trt.IExecutionContext"):\n  c.execute_async_v2([], 0)', 'TensorRT 10.0.1 has no execute_async_v2'),
        ('def f(c: "trt.ICudaEngine"):\n  c.device_memory_size_v2', 'TensorRT 10.0.1 has no device_memory_size_v2'),
        ('trt.ICaffeParser', 'has no ICaffeParser'),
    ],
)
def test_the_search_finds_what_is_wrong(source, said):
    assert any(said in problem for problem in problems(Uses(ast.parse(source)).found))


@pytest.mark.parametrize(
    'source', ['def f(c: "trt.ICudaEngine"):\n  if hasattr(c, "device_memory_size_v2"):\n    c.device_memory_size_v2']
)
def test_what_is_looked_for_first_may_be_missing(source):
    assert not list(problems(Uses(ast.parse(source)).found))


def test_callbacks_that_are_overridden_exist():
    """What Python derives from TensorRT's classes overrides methods of these names; another name is never called."""
    for cls, names in {
        'ILogger': ['log'],
        'IOutputAllocator': ['reallocate_output', 'notify_shape'],
        'IProgressMonitor': ['phase_start', 'step_complete', 'phase_finish'],
    }.items():
        for name in names:
            assert set(API['classes'][cls][name]) == set(API['names'][cls])
    assert set(API['classes']['IOutputAllocator']['reallocate_output_async']) == VERSIONS


def test_the_table_says_what_the_installed_package_has():
    """The stand-in libraries, by which the table is made without NVIDIA's, change nothing of the names."""
    rtx = pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is not installed')
    if rtx.__version__ != API['distributions']['rtx-1.7.1'].split('==')[1]:
        pytest.skip('another version of TensorRT for RTX is installed')
    assert importlib.import_module('tensorrt_rtx_bindings')
    for cls in ('Builder', 'IBuilderConfig', 'ICudaEngine', 'IExecutionContext', 'OnnxParser', 'Runtime'):
        real = {name for name in dir(getattr(rtx, cls)) if not name.startswith('_')}
        assert real == {name for name, what in API['classes'][cls].items() if 'rtx-1.7.1' in what} - {'__init__'}
