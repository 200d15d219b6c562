"""TurboViT's interface: sizes, padding, arguments that cannot be used, initialisation, and what is exported."""

import collections
import io
import itertools
import math
import warnings

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

from mmtrtvit.errors import ConfigError
from mmtrtvit.models import TurboViT
from mmtrtvit.models.backbones import turbovit
from mmtrtvit.models.backbones.turbovit import ARCH_SETTINGS, MaskUnitAttention

WHOLE = dict(widths=(16, 32, 32, 64), depths=(1, 2, 2, 2), heads=(1, 2, 2, 4), mask_units=(8, 4, 0, 0))
SIZES = [(64, 96), (70, 45), (33, 47), (5, 131), (1, 1)]


def arch(**changes):
    return {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}


@pytest.fixture
def small(randomise):
    """Build a network of a few thousand parameters with random numbers in all of them."""

    def build(**kwargs):
        backbone = randomise(TurboViT(**{'arch': arch(), 'resolution': 6, **kwargs}))
        with torch.no_grad():
            backbone.stem.position.normal_()
        return backbone.eval()

    return build


def outputs(backbone, x):
    with torch.no_grad():
        return backbone(x)


def assert_close(given, expected, tolerance):
    for ours, theirs in zip(given, expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


# --- sizes --------------------------------------------------------------------------------------------------


def test_the_named_size_is_that_of_the_table():
    settings = ARCH_SETTINGS['base']
    with torch.device('meta'):
        backbone = TurboViT()
        shapes = [tuple(y.shape) for y in backbone(torch.empty(1, 3, 224, 224))]
    assert backbone.out_channels == settings['widths']
    assert tuple(len(stage) for stage in backbone.stages) == settings['depths']
    assert shapes == [(1, w, n, n) for w, n in zip(settings['widths'], (56, 28, 14, 7), strict=True)]


def test_a_stand_in_says_that_it_is_one():
    for settings in ARCH_SETTINGS.values():
        assert settings['provenance'].startswith('reconstructed')
        assert 'not the searched architecture' in settings['provenance']


def test_a_named_size_can_be_given_as_a_dict_too():
    with torch.device('meta'):
        by_name, by_dict = TurboViT(arch='base'), TurboViT(arch=dict(ARCH_SETTINGS['base']))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (by_name, by_dict)]
    assert shapes[0] == shapes[1]


def test_stages_attend_as_in_hiera():
    """Inside units in the first two stages and the block that ends them by pooling, over all tokens after that."""
    attentions = [[block.attn for block in stage] for stage in TurboViT().stages]
    assert [[layer.side for layer in stage] for stage in attentions] == [[8], [8, 4], [4, *[0] * 6], [0, 0]]
    assert [[layer.pool for layer in stage] for stage in attentions] == [
        [False],
        [True, False],
        [True, *[False] * 6],
        [True, False],
    ]
    assert [stage[0].heads for stage in attentions] == [1, 2, 4, 8]


# --- padding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(70, 45), (33, 47), (5, 131), (1, 1)])
def test_what_stands_in_the_padding_has_no_effect(small, monkeypatch, size):
    backbone = small()
    x = torch.randn(2, 3, *size)
    expected = outputs(backbone, x)
    pad, padded = turbovit.pad_to_units, []

    def fill(x, side, value=0.0):
        """What is padded with 0 by the network is padded with numbers that would be noticed."""
        filled = pad(x, side, value=value or 1e4)
        padded.append(filled.shape != x.shape)
        return filled

    monkeypatch.setattr(turbovit, 'pad_to_units', fill)
    given = outputs(backbone, x)
    assert any(padded)
    for ours, theirs in zip(given, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_without_the_mask_padding_would_be_noticed(small, monkeypatch):
    backbone = small()
    x = torch.randn(1, 3, 70, 45)
    expected = outputs(backbone, x)
    monkeypatch.setattr(MaskUnitAttention, '_mask', lambda *_: None)
    assert not torch.allclose(outputs(backbone, x)[0], expected[0])


def test_nothing_is_padded_where_all_mask_units_are_whole(small, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('a map of whole mask units is padded')

    monkeypatch.setattr(turbovit.F, 'pad', refuse)
    backbone = small()
    outputs(backbone, torch.randn(1, 3, 64, 96))
    with pytest.raises(AssertionError, match='is padded'):
        outputs(backbone, torch.randn(1, 3, 64, 100))


def test_a_mask_unit_sees_itself_only(small):
    """In the first stage, of an image of 2 x 2 mask units, a change in one leaves the others as they were."""
    backbone = small(out_indices=(0,)).double()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    other = x.clone()
    other[:, :, 40:, 40:] += 1  # the 7x7 convolution reaches 3 pixels further
    before, after = outputs(backbone, x)[0], outputs(backbone, other)[0]
    changed = (before != after).any(1)[0]
    assert not changed[:8].any() and not changed[:, :8].any()
    assert changed[8:, 8:].all()


# --- the position embedding ---------------------------------------------------------------------------------


def test_the_position_embedding_is_interpolated_once_for_each_size(small, monkeypatch):
    backbone = small()
    calls = []
    embedding = backbone.stem.embedding
    monkeypatch.setattr(backbone.stem, 'embedding', lambda *size: calls.append(size) or embedding(*size))
    small_image, large_image = torch.randn(1, 3, 40, 60), torch.randn(1, 3, 60, 40)
    for x in (small_image, small_image, large_image, large_image, small_image):
        outputs(backbone, x)
    assert calls == [(10, 15), (15, 10), (10, 15)]


def test_the_position_embedding_is_trained_at_any_size(small):
    backbone = small(out_indices=(0,))
    for size in ((24, 24), (40, 60)):
        backbone.zero_grad()
        backbone(torch.randn(1, 3, *size))[0].square().mean().backward()
        assert (backbone.stem.position.grad != 0).any(-1).all()


# --- initialisation and norms -------------------------------------------------------------------------------


def test_initial_weights():
    backbone = TurboViT(arch=arch(widths=(64, 64, 64, 128)), final_norm=True)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(7.0)
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-6
            assert (module.weight == 1).all() and (module.bias == 0).all()
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15)
            assert (module.bias == 0).all()
    assert backbone.stem.position.std().item() == pytest.approx(0.02, rel=0.15)


def test_drop_path_rises_linearly_from_zero_to_its_rate():
    backbone = TurboViT(arch=arch(), drop_path_rate=0.3)
    blocks = [block for stage in backbone.stages for block in stage]
    for index, block in enumerate(blocks):
        (rate,) = {part.drop_prob for part in block.modules() if isinstance(part, DropPath)}
        assert rate == pytest.approx(0.3 * index / (len(blocks) - 1), abs=1e-6)


def test_checkpointing_changes_nothing_but_memory(small):
    """Padding and interpolation included, with random paths dropped, at a size that needs both."""
    plain, checkpointed = (small(drop_path_rate=0.5, with_cp=flag).double().train() for flag in (False, True))
    checkpointed.load_state_dict(plain.state_dict())
    x = torch.randn(3, 3, 70, 45, dtype=torch.float64)
    for backbone in (plain, checkpointed):
        torch.manual_seed(1)
        sum((y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum() for y in backbone(x)).backward()
    for (name, expected), given in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        assert expected.grad.abs().max() > 0, name
        torch.testing.assert_close(given.grad, expected.grad, rtol=1e-9, atol=1e-9, msg=name)


def test_maps_are_normed_for_dense_prediction_or_the_last_one_for_classification(small):
    x = torch.randn(2, 3, 64, 96)
    dense, classifier = small(), small(final_norm=True)
    classifier.load_state_dict(dense.state_dict(), strict=False)
    expected, given = outputs(dense, x), outputs(classifier, x)
    for index, norm in enumerate([*dense.output_norms.values()][:3]):
        with torch.no_grad():
            normed = norm(given[index].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(expected[index], normed)
        assert not torch.allclose(expected[index], given[index])
    last = given[-1].permute(0, 2, 3, 1) - classifier.final_norm.bias
    assert not classifier.output_norms
    torch.testing.assert_close((last / classifier.final_norm.weight).mean(-1), torch.zeros(2, 2, 3), atol=1e-5, rtol=0)


# --- the form for export ------------------------------------------------------------------------------------


def exported(backbone, dynamic):
    """The backbone in ONNX Runtime, and how often each operator is in the graph that it optimised."""
    import onnxruntime

    names = [f'stride{stride}' for stride in backbone.strides]
    axes = dict.fromkeys(['image', *names], {0: 'batch', 2: 'height', 3: 'width'})
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            backbone,
            (torch.randn(1, 3, 64, 96),),
            file,
            opset_version=17,
            dynamo=False,
            input_names=['image'],
            output_names=names,
            dynamic_axes=axes if dynamic else None,
        )
    return file.getvalue(), onnxruntime.InferenceSession(file.getvalue(), providers=['CPUExecutionProvider'])


@pytest.mark.parametrize('final_norm', [False, True])
def test_one_onnx_file_serves_every_size_and_batch(small, final_norm):
    import onnx

    backbone = small(final_norm=final_norm)
    backbone.switch_to_deploy()
    graph, session = exported(backbone, dynamic=True)
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    operators = collections.Counter(node.op_type for node in model.graph.node)
    assert {node.domain for node in model.graph.node} == {''}
    assert operators['LayerNormalization'] == sum(isinstance(part, nn.LayerNorm) for part in backbone.modules())
    assert operators['Softmax'] == 7
    for size, batch in zip(SIZES, itertools.cycle((1, 2, 3)), strict=False):
        x = torch.randn(batch, 3, *size)
        given = [torch.from_numpy(y) for y in session.run(None, {'image': x.numpy()})]
        assert all(y.isfinite().all() for y in given)
        assert_close(given, outputs(backbone, x), 1e-5)


def test_a_file_for_one_size(small):
    backbone = small()
    backbone.switch_to_deploy()
    _, session = exported(backbone, dynamic=False)
    x = torch.randn(1, 3, 64, 96)
    given = [torch.from_numpy(y) for y in session.run(None, {'image': x.numpy()})]
    assert_close(given, outputs(backbone, x), 1e-5)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_deploy_form_is_the_same_network(small, dtype, tolerance):
    backbone = small().to(dtype)
    images = [torch.randn(2, 3, *size, dtype=dtype) for size in SIZES]
    expected = [outputs(backbone, x) for x in images]
    backbone.switch_to_deploy()
    backbone.switch_to_deploy()
    assert not any(isinstance(part, turbovit.FusedAttention) for part in backbone.modules())
    for x, maps in zip(images, expected, strict=True):
        assert min(y.std() for y in maps) > 0.05, 'the weights leave nothing to compare'
        assert_close(outputs(backbone, x), maps, tolerance)


def test_under_autocast_the_mask_has_the_type_of_the_scores(small):
    backbone = small()
    x = torch.randn(1, 3, 70, 45)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        given = outputs(backbone, x)
    assert_close([y.float() for y in given], outputs(backbone, x), 0.1)


# --- arguments that cannot be used ---------------------------------------------------------------------------


def message(**arguments):
    """What is said, checked to hold the three parts of a message."""
    with pytest.raises(ConfigError) as caught:
        TurboViT(**arguments)
    lines = str(caught.value).split('\n')
    assert [line.split(':')[0] for line in lines[1:]] == ['Expected', 'Fix']
    return str(caught.value)


def test_unknown_name_lists_the_names():
    said = message(arch='s')
    assert "arch='s'" in said and "'base'" in said and 'widths, depths, heads, mask_units' in said


@pytest.mark.parametrize(
    ('wrong', 'expected'),
    [
        (arch(heads=None), "without 'heads'"),
        (arch(block_types='CCCM'), "with unknown 'block_types'"),
        (arch(heads=(1, 2, 0, 4)), "with a wrong value for 'heads'"),
        (arch(mask_units=(8, 4, -1, 0)), "with a wrong value for 'mask_units'"),
        (arch(mask_units=(8, 4, None, 0)), "with a wrong value for 'mask_units'"),
        (arch(mask_units=(8, 4)), "with a wrong value for 'mask_units'"),
        (arch(heads=(1, 2, 3, 4)), '32 channels with 3 heads in stage 2'),
        (arch(mask_units=(7, 4, 0, 0)), 'mask units of 7 x 7 tokens in stage 0'),
        (arch(mask_units=(8, 4, 3, 0)), 'mask units of 3 x 3 tokens in stage 2'),
    ],
    ids=str,
)
def test_wrong_arch(wrong, expected):
    assert expected in message(arch=wrong)


def test_the_last_stage_may_have_mask_units_of_any_side(randomise):
    backbone = randomise(TurboViT(arch=arch(mask_units=(8, 4, 2, 3)))).eval()
    assert outputs(backbone, torch.randn(1, 3, 130, 70))[-1].shape == (1, 64, math.ceil(130 / 32), math.ceil(70 / 32))


@pytest.mark.parametrize('resolution', [0, -1, 7.0, None])
def test_wrong_resolution(resolution):
    assert f'resolution={resolution!r}' in message(arch=arch(), resolution=resolution)


@pytest.mark.parametrize('rate', [-0.1, 1.0])
def test_wrong_drop_path_rate(rate):
    assert f'drop_path_rate={rate!r}' in message(arch=arch(), drop_path_rate=rate)
