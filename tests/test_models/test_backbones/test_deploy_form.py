"""What every backbone promises to deployment: the same network, without BatchNorm, for any size from one file."""

import collections
import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

SIZES = [(64, 96), (70, 45), (33, 47), (1, 1)]
OPSET = 17
WITH_BATCH_NORM = ['trt_vit', 'next_vit', 'efficientformer']


def outputs(backbone, x):
    with torch.no_grad():
        return backbone(x)


def assert_close(given, expected, tolerance):
    for ours, theirs in zip(given, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def switched(backbone):
    deployed = copy.deepcopy(backbone)
    assert deployed.switch_to_deploy() is None
    return deployed


@pytest.mark.parametrize('family', WITH_BATCH_NORM, indirect=True)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=['64', '32'])
@pytest.mark.parametrize('settings', [{}, dict(final_norm=True, norm_cfg=dict(type='BN', eps=1e-2))], ids=str)
def test_same_outputs(family, randomise, settings, dtype, tolerance):
    backbone = randomise(family(**settings)).to(dtype).eval()
    deployed = switched(backbone)
    for size in SIZES:
        x = torch.randn(2, 3, *size, dtype=dtype)
        expected = outputs(backbone, x)
        assert min(y.std() for y in expected) > 0.05, 'the weights leave nothing to compare'
        assert_close(outputs(deployed, x), expected, tolerance)


@pytest.mark.parametrize('family', [*WITH_BATCH_NORM, 'turbovit'], indirect=True)
@pytest.mark.parametrize('mode', [torch.inference_mode, torch.no_grad])
def test_it_compiles_into_one_graph(family, randomise, mode):
    backbone = randomise(family()).eval()
    backbone.switch_to_deploy()
    x = torch.randn(1, 3, 64, 96)
    with mode():
        compiled = torch.compile(backbone, backend='eager', fullgraph=True)(x)  # which raises where the graph breaks
    assert_close(compiled, outputs(backbone, x), 1e-5)


@pytest.mark.parametrize('family', WITH_BATCH_NORM, indirect=True)
@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_no_batch_norm_and_no_fused_attention_is_in_the_graph(family, norm, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('scaled_dot_product_attention is in the graph')

    backbone = family(final_norm=True, norm_cfg=dict(type=norm)).eval()
    assert any(isinstance(module, _BatchNorm) for module in backbone.modules())
    backbone.switch_to_deploy()
    assert not any(isinstance(module, _BatchNorm) for module in backbone.modules())
    assert not any('running_' in name for name in backbone.state_dict())
    monkeypatch.setattr(F, 'scaled_dot_product_attention', refuse)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer
        torch.jit.trace(backbone, torch.randn(1, 3, 33, 47), check_trace=False)


def test_twice_is_once(family, randomise):
    backbone = randomise(family(final_norm=True)).eval()
    backbone.switch_to_deploy()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    modules = [type(module) for module in backbone.modules()]
    backbone.switch_to_deploy()
    assert [type(module) for module in backbone.modules()] == modules
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_switched_in_training_mode_it_takes_the_running_statistics(family, randomise):
    backbone = randomise(family(final_norm=True, drop_path_rate=0.5)).double().eval()
    x = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    expected = outputs(backbone, x)
    backbone.train().switch_to_deploy()
    assert_close(outputs(backbone.eval(), x), expected, 1e-12)


@pytest.mark.parametrize('family', WITH_BATCH_NORM, indirect=True)
def test_norms_that_cannot_be_folded_stay(family, randomise):
    def group_norms(module):
        return sum(isinstance(part, torch.nn.GroupNorm) for part in module.modules())

    backbone = randomise(family(norm_cfg=dict(type='GN', num_groups=4), final_norm=True)).double().eval()
    x = torch.randn(2, 3, 70, 45, dtype=torch.float64)
    deployed = switched(backbone)
    assert group_norms(deployed) == group_norms(backbone) > 10
    assert_close(outputs(deployed, x), outputs(backbone, x), 1e-9)


def test_one_onnx_file_serves_every_size_and_batch(family, randomise, tmp_path):
    import onnx
    import onnxruntime

    backbone = randomise(family(final_norm=True)).eval()
    backbone.switch_to_deploy()
    path = tmp_path / 'backbone.onnx'
    names = [f'stride{stride}' for stride in backbone.strides]
    axes = {0: 'batch', 2: 'height', 3: 'width'}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            backbone,
            (torch.randn(1, 3, 64, 96),),
            path,
            opset_version=OPSET,
            dynamo=False,
            input_names=['image'],
            output_names=names,
            dynamic_axes=dict.fromkeys(['image', *names], axes),
        )
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    operators = collections.Counter(node.op_type for node in model.graph.node)
    assert {node.domain for node in model.graph.node} == {''}
    assert not operators['BatchNormalization']
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for shape in [(1, 3, 64, 96), (2, 3, 128, 64), (3, 3, 70, 45), (1, 3, 33, 47)]:
        x = torch.randn(shape)
        given = [torch.from_numpy(y) for y in session.run(None, {'image': x.numpy()})]
        assert_close(given, outputs(backbone, x), 1e-4)
