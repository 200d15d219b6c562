"""EfficientFormer's interface: sizes, the bias for any input, initialisation, norms, export, wrong arguments."""

import collections
import io
import itertools
import warnings

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.errors import ConfigError
from mmtrtvit.models import EfficientFormer
from mmtrtvit.models.backbones.efficientformer import (
    ARCH_SETTINGS,
    BiasedAttention,
    FusedAttention,
    LayerScale,
    Meta3D,
    Meta4D,
)

WHOLE = dict(widths=(16, 16, 32, 32), depths=(1, 2, 2, 3), attention_blocks=(0, 0, 1, 2))
SIZES = [(64, 96), (70, 45), (33, 47), (5, 131), (1, 1)]


def arch(**changes):
    return {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}


@pytest.fixture
def small(randomise):
    """Build a network of a few thousand parameters with random numbers in all of them."""

    def build(**kwargs):
        backbone = EfficientFormer(**{'arch': arch(), 'heads': 2, 'key_dim': 8, 'value_ratio': 2, **kwargs})
        randomise(backbone)
        with torch.no_grad():
            for part in backbone.modules():
                if isinstance(part, BiasedAttention):
                    part.attention_biases.normal_(0, 2)
                elif isinstance(part, LayerScale):
                    part.gamma.normal_(0.7, 0.3)
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


@pytest.mark.parametrize('name', ['l1', 'l3', 'l7'])
def test_named_sizes_are_those_of_the_table(name):
    settings = ARCH_SETTINGS[name]
    with torch.device('meta'):
        backbone = EfficientFormer(arch=name)
        shapes = [tuple(y.shape) for y in backbone(torch.empty(1, 3, 224, 224))]
    assert settings['provenance'].startswith('published')
    assert backbone.out_channels == settings['widths']
    assert shapes == [(1, w, n, n) for w, n in zip(settings['widths'], (56, 28, 14, 7), strict=True)]
    for stage, depth, count in zip(backbone.stages, settings['depths'], settings['attention_blocks'], strict=True):
        assert [type(block) for block in stage] == [Meta4D] * (depth - count) + [Meta3D] * count


def test_a_named_size_can_be_given_as_a_dict_too():
    with torch.device('meta'):
        by_name, by_dict = EfficientFormer(arch='l7'), EfficientFormer(arch=dict(ARCH_SETTINGS['l7']))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (by_name, by_dict)]
    assert shapes[0] == shapes[1]


def test_building_one_says_nothing(recwarn):
    EfficientFormer(arch=arch())
    assert not [warning for warning in recwarn if 'bias' in str(warning.message)]


# --- the bias -----------------------------------------------------------------------------------------------


def attentions(backbone):
    return [part for part in backbone.modules() if isinstance(part, BiasedAttention)]


@pytest.fixture
def computed(monkeypatch):
    """Sizes for which a bias was computed."""
    sizes = []
    bias = BiasedAttention.bias

    def note(self, height, width):
        sizes.append((int(height), int(width)))
        return bias(self, height, width)

    monkeypatch.setattr(BiasedAttention, 'bias', note)
    return sizes


def test_the_bias_is_computed_once_for_each_size(small, computed):
    backbone = small(arch=arch(attention_blocks=(0, 0, 0, 1)))
    wide, tall = torch.randn(1, 3, 64, 96), torch.randn(1, 3, 96, 64)
    for x in (wide, wide, tall, tall, wide):
        outputs(backbone, x)
    assert computed == [(2, 3), (3, 2), (2, 3)]


@pytest.mark.parametrize(
    'change',
    [
        lambda backbone, table: table.mul_(2),
        lambda backbone, table: backbone.load_state_dict({k: 2 * v for k, v in backbone.state_dict().items()}),
        # As mmengine's EMA does: not counted by PyTorch, but before it switches to evaluation.
        lambda backbone, table: (table.data.mul_(2), backbone.eval()),
        lambda backbone, table: backbone.double(),
    ],
    ids=['in place', 'loaded', 'averaged', 'type'],
)
def test_a_bias_of_an_older_table_is_never_used(small, computed, change):
    backbone = small(arch=arch(attention_blocks=(0, 0, 0, 1)))
    x = torch.randn(1, 3, 64, 96)
    outputs(backbone, x)
    (layer,) = attentions(backbone)
    with torch.no_grad():
        change(backbone, layer.attention_biases)
    outputs(backbone, x.to(layer.attention_biases.dtype))
    assert len(computed) == 2


def test_the_bias_is_computed_in_every_training_step(small, computed):
    backbone = small(arch=arch(attention_blocks=(0, 0, 0, 1))).train()
    (layer,) = attentions(backbone)
    optimiser = torch.optim.SGD([layer.attention_biases], lr=0.1)
    x = torch.randn(2, 3, 64, 96)
    for step in range(3):
        before = layer.attention_biases.detach().clone()
        optimiser.zero_grad()
        backbone(x)[-1].square().sum().backward()
        optimiser.step()
        assert (layer.attention_biases != before).any()
        assert len(computed) == step + 1
    outputs(backbone.eval(), x)
    assert len(computed) == 4


def test_all_of_the_table_is_trained_by_maps_of_its_size_or_larger(small):
    backbone = small(arch=arch(attention_blocks=(0, 0, 0, 1)), resolution=3)
    (layer,) = attentions(backbone)
    for size in ((96, 96), (96, 200), (190, 130)):
        backbone.zero_grad()
        backbone(torch.randn(2, 3, *size))[-1].square().sum().backward()
        assert (layer.attention_biases.grad != 0).all()


def test_a_network_trained_at_one_size_goes_on_at_another(small):
    """The table has one shape for every input: a checkpoint loads whatever the size."""
    backbone = small()
    shapes = {name: value.shape for name, value in backbone.state_dict().items()}
    for size in SIZES:
        assert all(y.isfinite().all() for y in outputs(backbone, torch.randn(1, 3, *size)))
    assert {name: value.shape for name, value in backbone.state_dict().items()} == shapes


# --- initialisation and norms -------------------------------------------------------------------------------


@pytest.mark.parametrize('final_norm', [False, True])
def test_initial_weights(final_norm):
    backbone = EfficientFormer(arch=arch(widths=(64, 64, 64, 128)), final_norm=final_norm, layer_scale=1e-3)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(7.0)
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, (_BatchNorm, nn.LayerNorm, nn.GroupNorm)):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15)
            assert (module.bias == 0).all()
        elif isinstance(module, LayerScale):
            assert torch.equal(module.gamma, torch.full_like(module.gamma, 1e-3))
        elif isinstance(module, BiasedAttention):
            assert (module.attention_biases == 0).all()


@pytest.mark.parametrize(
    ('settings', 'factor'),
    [
        (dict(arch='l1'), 1e-5),
        (dict(arch='l7'), 1e-6),
        (dict(arch='l7', layer_scale=0.1), 0.1),
        (dict(arch=arch()), 1e-5),
    ],
    ids=str,
)
def test_what_residual_branches_start_with(settings, factor):
    with torch.device('meta'):
        backbone = EfficientFormer(**settings)
    assert {part.init for part in backbone.modules() if isinstance(part, LayerScale)} == {factor}


def test_drop_path_rises_linearly_from_zero_to_its_rate():
    backbone = EfficientFormer(arch=arch(), drop_path_rate=0.3)
    blocks = [block for stage in backbone.stages for block in stage]
    for index, block in enumerate(blocks):
        (rate,) = {part.drop_prob for part in block.modules() if isinstance(part, DropPath)}
        assert rate == pytest.approx(0.3 * index / (len(blocks) - 1), abs=1e-6)


@pytest.mark.parametrize('norm', ['BN', 'SyncBN', 'GN'])
def test_norm_cfg_reaches_every_norm_after_a_convolution(norm):
    kind = dict(BN=nn.BatchNorm2d, SyncBN=nn.SyncBatchNorm, GN=nn.GroupNorm)[norm]
    norm_cfg = dict(type=norm, **(dict(num_groups=4) if norm == 'GN' else {}))
    backbone = EfficientFormer(arch=arch(), norm_cfg=norm_cfg, final_norm=True)
    norms = [part for part in backbone.modules() if isinstance(part, (_BatchNorm, nn.GroupNorm))]
    assert all(isinstance(part, kind) for part in norms)
    assert len(norms) == sum(isinstance(part, nn.Conv2d) for part in backbone.modules())


def test_maps_are_normed_for_dense_prediction_or_the_last_one_for_classification(small):
    x = torch.randn(2, 3, 64, 96)
    dense, classifier = small(), small(final_norm=True)
    classifier.load_state_dict(dense.state_dict(), strict=False)
    expected, given = outputs(dense, x), outputs(classifier, x)
    assert {name for name, _ in dense.named_parameters()} > {f'output_norms.{i}.weight' for i in range(4)}
    assert not classifier.output_norms
    for index, norm in enumerate([*dense.output_norms.values()][:3]):
        torch.testing.assert_close(expected[index], outputs(norm, given[index]))
        assert not torch.allclose(expected[index], given[index])
    norm = classifier.final_norm
    last = (given[-1].permute(0, 2, 3, 1) - norm.bias) / norm.weight
    torch.testing.assert_close(last.mean(-1), torch.zeros(2, 2, 3), atol=1e-5, rtol=0)


def test_only_maps_that_are_returned_have_a_norm():
    backbone = EfficientFormer(arch=arch(), out_indices=(1, 2))
    assert list(backbone.output_norms) == ['1', '2']


# --- the form for export ------------------------------------------------------------------------------------


def exported(backbone, tmp_path, dynamic):
    """The backbone in ONNX Runtime; operators of the file, and of the graph that ONNX Runtime makes of it."""
    import onnx
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
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / 'optimised.onnx')
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=['CPUExecutionProvider'])
    model, optimised = onnx.load_from_string(file.getvalue()), onnx.load(options.optimized_model_filepath)
    onnx.checker.check_model(model, full_check=True)
    return session, *(collections.Counter(node.op_type for node in it.graph.node) for it in (model, optimised))


@pytest.mark.parametrize('final_norm', [False, True])
def test_one_onnx_file_serves_every_size_and_batch(small, tmp_path, final_norm):
    backbone = small(final_norm=final_norm)
    backbone.switch_to_deploy()
    session, operators, _ = exported(backbone, tmp_path, dynamic=True)
    assert not operators['BatchNormalization']
    assert operators['LayerNormalization'] == sum(isinstance(part, nn.LayerNorm) for part in backbone.modules())
    assert operators['Softmax'] == 3
    for size, batch in zip(SIZES, itertools.cycle((1, 2, 3)), strict=False):
        x = torch.randn(batch, 3, *size)
        given = [torch.from_numpy(y) for y in session.run(None, {'image': x.numpy()})]
        assert_close(given, outputs(backbone, x), 1e-5)


def test_for_one_size_the_bias_becomes_a_constant(small, tmp_path):
    """The file holds the table; an engine computes the bias when it loads the file, and never again."""
    backbone = small()
    backbone.switch_to_deploy()
    session, operators, optimised = exported(backbone, tmp_path, dynamic=False)
    assert operators['Abs'] and operators['Clip']
    assert not any(optimised[name] for name in ('Abs', 'Clip', 'Range', 'Shape', 'Gather', 'Expand'))
    # For each attention: queries, keys, values, scores, values, projection, and the two layers of the MLP.
    assert optimised['MatMul'] + optimised['Gemm'] == 3 * 8
    x = torch.randn(1, 3, 64, 96)
    given = [torch.from_numpy(y) for y in session.run(None, {'image': x.numpy()})]
    assert_close(given, outputs(backbone, x), 1e-5)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize('norm_cfg', [dict(type='BN'), dict(type='GN', num_groups=4)], ids=str)
def test_the_deploy_form_is_the_same_network(small, norm_cfg, dtype, tolerance):
    backbone = small(norm_cfg=norm_cfg).to(dtype)
    images = [torch.randn(2, 3, *size, dtype=dtype) for size in SIZES]
    expected = [outputs(backbone, x) for x in images]
    backbone.switch_to_deploy()
    backbone.switch_to_deploy()
    assert not any(isinstance(part, (_BatchNorm, FusedAttention)) for part in backbone.modules())
    for x, maps in zip(images, expected, strict=True):
        assert min(y.std() for y in maps) > 0.05, 'the weights leave nothing to compare'
        assert_close(outputs(backbone, x), maps, tolerance)


@pytest.mark.parametrize(('norm_cfg', 'left'), [(dict(type='BN'), 5), (dict(type='GN', num_groups=4), 5 + 5)], ids=str)
def test_layer_scale_is_folded_where_a_layer_is_right_before_it(small, norm_cfg, left):
    """The factors of pooling stay (5 blocks of 8), and those after a norm that cannot be folded."""
    backbone = small(norm_cfg=norm_cfg)
    backbone.switch_to_deploy()
    assert sum(isinstance(part, LayerScale) for part in backbone.modules()) == left


def test_under_autocast_the_bias_has_the_type_of_the_scores(small, computed):
    backbone = small(arch=arch(attention_blocks=(0, 0, 0, 1)))
    x = torch.randn(1, 3, 70, 45)
    expected = outputs(backbone, x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        given = outputs(backbone, x)
    assert_close([y.float() for y in given], expected, 0.1)
    assert len(computed) == 2, 'a bias in bfloat16 is not one in float32'
    assert_close(outputs(backbone, x), expected, 0)


# --- arguments that cannot be used ---------------------------------------------------------------------------


def message(**arguments):
    """What is said, checked to hold the three parts of a message."""
    with pytest.raises(ConfigError) as caught:
        EfficientFormer(**arguments)
    lines = str(caught.value).split('\n')
    assert [line.split(':')[0] for line in lines[1:]] == ['Expected', 'Fix']
    return str(caught.value)


def test_unknown_name_lists_the_names():
    said = message(arch='l2')
    assert "arch='l2'" in said and "'l1', 'l3', 'l7'" in said and 'widths, depths, attention_blocks' in said


@pytest.mark.parametrize(
    ('wrong', 'expected'),
    [
        (arch(attention_blocks=None), "without 'attention_blocks'"),
        (arch(vit_num=1), "with unknown 'vit_num'"),
        (arch(attention_blocks=(0, 0, 0, -1)), "with a wrong value for 'attention_blocks'"),
        (arch(attention_blocks=(0, 0, 0, 1.0)), "with a wrong value for 'attention_blocks'"),
        (arch(attention_blocks=1), "with a wrong value for 'attention_blocks'"),
        (arch(attention_blocks=(0, 0, 0, 4)), 'attention_blocks[3]=4 for a stage of 3 blocks'),
        (arch(widths=(16, 16, 0, 32)), "with a wrong value for 'widths'"),
    ],
    ids=str,
)
def test_wrong_arch(wrong, expected):
    assert expected in message(arch=wrong)


@pytest.mark.parametrize('resolution', [0, -1, 7.0, None, (7, 7)])
def test_wrong_resolution(resolution):
    assert f'resolution={resolution!r}' in message(arch=arch(), resolution=resolution)


@pytest.mark.parametrize('rate', [-0.1, 1.0])
def test_wrong_drop_path_rate(rate):
    assert f'drop_path_rate={rate!r}' in message(arch=arch(), drop_path_rate=rate)
