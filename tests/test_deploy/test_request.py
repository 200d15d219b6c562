"""A request is checked before anything is converted, and says the same whether options or a deploy config made it."""

import itertools

import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.export.input_shapes import input_shapes
from mmtrtvit.deploy.request import BUILD_OPTIONS, DeployRequest, make_request
from mmtrtvit.errors import ConfigError
from mmtrtvit.runtime.backends import BACKENDS
from mmtrtvit.runtime.precisions import PRECISIONS

SHAPES = input_shapes('800x1344')


@pytest.fixture(scope='module')
def models(root):
    names = {'instance': 'maskrcnn_trtvit_a_coco.py', 'segmentation': 'upernet_trtvit_a_ade20k.py'}
    return {task: load_config(root / 'configs' / name).model for task, name in names.items()}


def test_without_options_onnx_runtime_takes_any_size(models):
    request = make_request(models['instance'], backend=None, shapes=None, flavour=None)
    assert request == DeployRequest('instance') and request.size is None
    assert request.runs_on is BACKENDS['onnxruntime']


@pytest.mark.parametrize('task, flavour', [('instance', 'portable'), ('segmentation', 'native')])
def test_engines_get_plain_arithmetic_by_default(models, task, flavour):
    """No TensorRT has run the native flavour yet."""
    for backend in BACKENDS.values():
        request = make_request(models[task], backend=backend.name, shapes=SHAPES if backend.needs_shapes else None)
        assert request.flavour == (flavour if backend.flavour == 'portable' else 'native')
    for name in ('tensorrt', 'tensorrt-rtx'):
        assert BACKENDS[name].flavour == 'portable'
        assert make_request(models[task], backend=name, flavour='native', shapes=SHAPES).flavour == 'native'


def test_a_deploy_config_and_options_make_the_same_request(models, root):
    folder = root / 'configs' / 'deploy'
    path = folder / 'instance-seg_tensorrt-rtx_dynamic-320x320-1344x1344.py'
    read = make_request(models['instance'], deploy_cfg=path, precision='int8')
    shapes = input_shapes(dynamic=['320x320', '800x1344', '1344x1344'], batch=[1, 1, 4])
    made = make_request(models['instance'], backend='tensorrt-rtx', shapes=shapes, precision='int8')
    assert read.deploy_cfg == path and made.deploy_cfg is None
    for name in ('task', 'backend', 'flavour', 'shapes', 'precision'):
        assert getattr(read, name) == getattr(made, name)


@pytest.mark.parametrize('given', [{'backend': 'openvino'}, {'flavour': 'native'}, {'shapes': SHAPES}])
def test_a_deploy_config_says_it_itself(models, dynamic_config, given):
    with pytest.raises(ConfigError, match=f'A deploy config and {next(iter(given))} are given'):
        make_request(models['instance'], deploy_cfg=dynamic_config, **given)


@pytest.mark.parametrize(
    'given, said',
    [
        ({'backend': 'tensorflow'}, '--backend tensorflow is unknown'),
        ({'flavour': 'small'}, '--flavour small is unknown'),
        ({'calibration': 'mean'}, '--calibration mean is unknown'),
        ({'backend': 'tensorrt'}, '--backend tensorrt without an input size'),
        ({'backend': 'tensorrt-rtx'}, '--backend tensorrt-rtx without an input size'),
        ({'search': True}, '--search with --backend onnxruntime --precision fp32'),
        ({'shapes': input_shapes('800x1300')}, 'An input of 800 x 1300 for a network that pads to multiples of 32'),
    ],
)
def test_what_does_not_go_together(models, given, said):
    with pytest.raises(ConfigError, match=said) as error:
        make_request(models['instance'], **given)
    assert '\nFix: ' in str(error.value)


@pytest.mark.parametrize('backend, precision', list(itertools.product(BACKENDS, [*PRECISIONS, 'fp64'])))
def test_a_precision_that_a_backend_lacks_is_refused(backend, precision):
    request = DeployRequest('segmentation', backend=backend, precision=precision, shapes=SHAPES)
    if precision in BACKENDS[backend].precisions:
        return request.check()
    with pytest.raises(ConfigError, match=f'{backend} has no such precision') as error:
        request.check()
    able = [other.name for other in BACKENDS.values() if precision in other.precisions]
    assert (f'{precision} is known to {", ".join(able)}' in str(error.value)) == bool(able)


@pytest.mark.parametrize('option, value', [('targets', ['sm86']), ('timing_cache', 'x'), ('workspace_mib', 1)])
def test_options_of_some_backends_are_refused_elsewhere(option, value):
    assert option in BUILD_OPTIONS
    for backend in BACKENDS.values():
        request = DeployRequest('segmentation', backend=backend.name, shapes=SHAPES, **{option: value})
        if option in backend.build_options:
            request.check()
        else:
            name = option.replace('_', '-')
            with pytest.raises(ConfigError, match=f'--backend {backend.name} has no option --{name}'):
                request.check()


def test_every_backend_is_described():
    for name, backend in BACKENDS.items():
        assert backend.name == name and backend.precisions[0] == 'fp32' and set(backend.precisions) <= set(PRECISIONS)
        assert set(backend.build_options) <= set(BUILD_OPTIONS) and backend.int8.beside in PRECISIONS
        assert set(backend.precisions_by_setting) <= set(backend.precisions)
