"""What cannot work is refused with its reason and the way around it."""

import importlib.metadata
import sys
import types
from pathlib import Path

import pytest

from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.backends.tensorrt import support as support


@pytest.mark.parametrize(
    'package, version, capability, uses, reason, instead',
    [
        ('tensorrt', (8, 6, 1), None, '', 'strongly typed networks came with TensorRT 10', 'TensorRT 10.x or 11.x'),
        ('tensorrt', (9, 3), None, 'precision flags', 'strongly typed', 'pip install tensorrt-cu12'),
        ('tensorrt', (11, 4), None, 'precision flags', 'BuilderFlag.FP16', '--precision fp16'),
        ('tensorrt', (11,), None, 'precision flags', 'BuilderFlag.INT8', '--precision fp16'),
        ('tensorrt', (10, 16), None, 'precision flags', 'strongly typed', '--precision fp16'),
        ('tensorrt_rtx', (1, 7, 1), (9, 0), '', 'H100', '--backend tensorrt'),
        ('tensorrt_rtx', (1, 7, 1), (10, 0), '', 'B200', '--backend tensorrt'),
        ('tensorrt_rtx', (1, 7, 1), (7, 0), '', '7.5', 'onnxruntime'),
        ('tensorrt_rtx', (1, 7, 1), None, 'precision flags', 'no builder flags', '--precision'),
    ],
)
def test_combinations_that_cannot_work(package, version, capability, uses, reason, instead):
    with pytest.raises(DeployError) as caught:
        support.refuse_combination(package, version, capability, uses)
    message = str(caught.value)
    assert reason in message and instead in message
    assert '.'.join(map(str, version)) in message


@pytest.mark.parametrize(
    'package, version, capability, uses',
    [
        ('tensorrt', (10,), (8, 6), ''),
        ('tensorrt', (10, 0, 1), (9, 0), 'typed graph'),
        ('tensorrt', (11, 4), (10, 0), ''),
        ('tensorrt_rtx', (1, 7, 1), (8, 9), 'typed graph'),
        ('tensorrt_rtx', (1, 7, 1), (12, 0), ''),
    ],
)
def test_combinations_that_can(package, version, capability, uses):
    support.refuse_combination(package, version, capability, uses)


def test_the_documentation_names_every_refusal(root):
    text = ' '.join((root / 'docs' / 'tensorrt.md').read_text().split())
    for refusal in support.REFUSALS:
        assert refusal.reason in text, refusal.reason


@pytest.mark.parametrize(
    'text, version',
    [('10.16.1.11', (10, 16, 1, 11)), ('8.6.1', (8, 6, 1)), ('11.0.0+cu13', (11, 0, 0)), ('10.0.0rc1', (10, 0, 0))],
)
def test_versions_are_compared_as_numbers(text, version):
    assert support.parse_version(text) == version


def test_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr(support.importlib.util, 'find_spec', lambda name: None)
    assert support.installed_version('tensorrt') is None
    with pytest.raises(DeployError, match='pip install tensorrt'):
        support.require_version('tensorrt')


def test_a_package_without_its_libraries(monkeypatch, tmp_path):
    (tmp_path / 'tensorrt.py').write_text('raise ImportError("libnvinfer.so.10: cannot open shared object file")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'tensorrt', raising=False)
    with pytest.raises(DeployError, match=r'libnvinfer\.so\.10(.|\n)*docs/tensorrt\.md'):
        support.import_package('tensorrt')


def test_the_version_of_a_package_that_pip_does_not_know(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    module = types.ModuleType('tensorrt')
    module.__version__ = '8.6.1'
    module.__spec__ = importlib.util.spec_from_loader('tensorrt', None)
    monkeypatch.setitem(sys.modules, 'tensorrt', module)
    monkeypatch.setattr(support.importlib.metadata, 'version', unknown)
    assert support.installed_version('tensorrt') == (8, 6, 1)


def test_the_pinned_version_is_the_one_that_the_table_of_names_is_of(root):
    pins = [line for line in (root / 'requirements' / 'tensorrt-rtx.txt').read_text().splitlines() if '==' in line]
    table = (Path(root) / 'tests' / 'data' / 'tensorrt_api.json').read_text()
    assert [pin.split('==')[1] in table for pin in pins] == [True]
