"""Every backbone in its export form is one standard graph for every size, in ONNX Runtime and in OpenVINO."""

import collections
import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmdeploy.core import RewriterContext
from mmdeploy.utils import IR
from mmengine.config import Config
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.deploy.export.mmdeploy_patches import LOWEST_OPSET
from mmtrtvit.deploy.export.onnx_graph import operators, simplify
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.models import EfficientFormer, NextViT, TRTViT, TurboViT
from mmtrtvit.runtime.backends import open_session
from mmtrtvit.runtime.backends.openvino import save_ir

AXES = {0: 'batch', 2: 'height', 3: 'width'}
EXPORTED_AT = (1, 64, 64)
OTHERS = [(1, 64, 64), (2, 96, 64), (1, 33, 47), (3, 70, 45), (1, 131, 37)]
"""Batch, height and width: as exported, and others, of which some are no multiple of anything."""

NTB = dict(
    widths=(32, 32, 32, 64), ntb_widths=(32, 64, 64, 64), depths=(1, 2, 2, 2), block_types=('C', 'CT', 'CT', 'CT')
)
BACKBONES = {
    'TRT-ViT': lambda: TRTViT(
        arch=dict(widths=(32, 32, 32, 64), depths=(1, 1, 1, 3), block_types=('C', 'C', 'T', 'ABM')), final_norm=True
    ),
    'Next-ViT, tokens': lambda: NextViT(arch=NTB, kv_pool='tokens', head_dim=16),
    'Next-ViT, windows': lambda: NextViT(arch=NTB, kv_pool='windows', head_dim=16, with_extra_norm=True),
    'EfficientFormer': lambda: EfficientFormer(
        arch=dict(widths=(16, 16, 16, 32), depths=(1, 1, 1, 3), attention_blocks=(0, 0, 0, 2)),
        heads=2,
        key_dim=8,
        value_ratio=2.0,
        resolution=5,
    ),
    'TurboViT': lambda: TurboViT(
        arch=dict(widths=(16, 32, 32, 64), depths=(1, 2, 2, 2), heads=(1, 2, 2, 4), mask_units=(8, 4, 0, 0)),
        resolution=6,
    ),
}


def randomised(module: nn.Module) -> nn.Module:
    """Numbers other than 0 and 1 in every weight and statistic: a part that an export loses is then missed."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim < 2:
                parameter.copy_(0.7 + 0.6 * torch.rand(parameter.shape, generator=generator))
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator) * 0.2)
                part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=generator))
    return module.eval()


Exported = collections.namedtuple('Exported', 'backbone deployed path')


@pytest.fixture(scope='module')
def backbones(tmp_path_factory):
    """Name to a backbone, its export form and its ONNX file, all exported under one set of rewriters."""
    folder = tmp_path_factory.mktemp('exports')
    names = dict(input_names=['input'], dynamic_axes={'input': AXES})
    settings = dict(
        onnx_config=dict(type='onnx', opset_version=LOWEST_OPSET, **names), backend_config=dict(type='onnxruntime')
    )
    made = {name: randomised(build()) for name, build in BACKBONES.items()}
    found = {}
    with quiet(), RewriterContext(cfg=Config(settings), backend='onnxruntime', ir=IR.ONNX, opset=LOWEST_OPSET):
        for name, backbone in made.items():
            deployed = copy.deepcopy(backbone)
            deployed.switch_to_deploy()
            path = folder / f'{name}.onnx'
            with torch.no_grad():
                torch.onnx.export(
                    deployed,
                    torch.randn(1, 3, *EXPORTED_AT[1:]),
                    str(path),
                    opset_version=LOWEST_OPSET,
                    dynamo=False,
                    **names,
                )
            found[name] = Exported(backbone, deployed, path)
    return found


@pytest.fixture(params=BACKBONES)
def exported(request, backbones):
    """Each of the backbones."""
    return backbones[request.param]


def images_of(batch, height, width):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height * width))


def assert_close(found, expected, tolerance):
    """Each map within a share of the largest value of PyTorch's."""
    for ours, theirs in zip(found, expected, strict=True):
        theirs = theirs.numpy()
        assert ours.shape == theirs.shape and np.isfinite(theirs).all()
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


@pytest.mark.parametrize('folded', [False, True], ids=['as exported', 'simplified'])
def test_onnxruntime_computes_what_pytorch_does_at_any_size(exported, folded, tmp_path):
    path = tmp_path / 'backbone.onnx'
    path.write_bytes(exported.path.read_bytes())
    if folded:
        before, after = simplify(path)
        assert after < before
    session = session_of(path)
    for size in OTHERS:
        images = images_of(*size)
        with torch.no_grad():
            expected = exported.backbone(images)
        assert len(expected) == 4
        assert_close(session.run(None, {'input': images.numpy()}), expected, 1e-4)


def test_the_graph_is_standard_and_folded(exported):
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain: opset.version for opset in model.opset_import} == {'': LOWEST_OPSET}
    found = operators(model)
    assert not any('::' in name for name in found)
    assert not {'BatchNormalization', 'Loop', 'If', 'Scan', 'NonZero'} & set(found)
    norms = [part for part in exported.backbone.modules() if isinstance(part, nn.LayerNorm)]
    assert found['LayerNormalization'] == len(norms)
    attentions = [part for part in exported.deployed.modules() if type(part).__name__ == 'ExplicitAttention']
    assert found['Softmax'] == len(attentions) > 0


def test_all_sides_but_the_channels_are_free(exported):
    session = session_of(exported.path)
    assert session.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
    for output, channels in zip(session.get_outputs(), exported.backbone.out_channels, strict=True):
        batch, found, *sides = output.shape
        assert not isinstance(batch, int) and found == channels and not any(isinstance(side, int) for side in sides)


def test_openvino_agrees(exported, tmp_path):
    engine = tmp_path / 'backbone.xml'
    save_ir(exported.path, engine)
    session = open_session('openvino', engine, precision='fp32')
    for size in OTHERS[:3]:
        images = images_of(*size)
        with torch.no_grad():
            expected = exported.backbone(images)
        assert_close(session.run({'input': images.numpy()}).values(), expected, 1e-3)
