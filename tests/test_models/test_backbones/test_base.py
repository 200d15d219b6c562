"""What every backbone promises to heads and trainers: maps, gradients, checkpointing, frozen parts, layer depths."""

import copy
import math

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

WITHOUT_EFFECT = '.attn.k.bias'
"""A bias of the keys adds the same to all scores of a query, which softmax does not see."""

WITH_BATCH_NORM = ['trt_vit', 'next_vit', 'efficientformer']

WITHOUT_OUTPUT_NORMS = ['trt_vit', 'next_vit']
"""The others put a norm on every map that they return, which belongs to no stage, and with ``final_norm`` on none."""


def loss_of(maps):
    """A number in which every element of every map has a weight of its own."""
    return sum((y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum() for y in maps)


def batch_norms(module):
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


def train_step(backbone, x, seed=0):
    """Forward and backward pass; gradient by name."""
    torch.manual_seed(seed)
    backbone.zero_grad()
    loss_of(backbone(x)).backward()
    return {name: parameter.grad for name, parameter in backbone.named_parameters()}


# --- maps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(224, 224), (130, 255), (33, 47), (4, 97), (1, 1)])
def test_any_size_gives_maps_of_the_strides_rounded_up(family, randomise, size):
    backbone = randomise(family()).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, *size))
    assert isinstance(maps, tuple)
    assert backbone.strides == (4, 8, 16, 32)
    for given, channels, stride in zip(maps, backbone.out_channels, (4, 8, 16, 32), strict=True):
        assert given.shape == (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert given.isfinite().all()


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('training', [True, False])
def test_maps_lie_in_memory_as_mmcvs_operators_read_them(family, randomise, layout, training):
    """RoIAlign takes any tensor for NCHW: from maps of another layout it gathers other pixels, and says nothing."""
    backbone = randomise(family()).train(training)
    maps = backbone(torch.rand(2, 3, 70, 96).to(memory_format=layout))
    assert all(features.is_contiguous() for features in maps)


@pytest.mark.parametrize('indices', [(0,), (3,), (0, 2), (1, 2), (1, 3), (0, 1, 2, 3), [2, 3]])
def test_out_indices_choose_among_the_same_maps(family, randomise, indices):
    x = torch.randn(1, 3, 64, 96)
    whole, part = randomise(family()).eval(), family(out_indices=indices).eval()
    assert part.load_state_dict(whole.state_dict(), strict=False).missing_keys == []
    with torch.no_grad():
        expected, given = whole(x), part(x)
    assert part.out_channels == tuple(whole.out_channels[i] for i in indices)
    assert part.strides == tuple(whole.strides[i] for i in indices)
    for index, ours in zip(indices, given, strict=True):
        assert torch.equal(ours, expected[index])
    assert len(part.stages) == max(indices) + 1


def test_images_of_a_batch_do_not_see_each_other(family, randomise):
    backbone = randomise(family()).double().eval()
    x = torch.randn(2, 3, 70, 45, dtype=torch.float64)
    with torch.no_grad():
        together, alone = backbone(x), backbone(x[1:])
    for ours, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(ours[1:], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('family', WITHOUT_OUTPUT_NORMS, indirect=True)
def test_final_norm_is_on_the_last_map_only(family, randomise):
    x = torch.randn(1, 3, 64, 64)
    plain, normed = randomise(family()).eval(), randomise(family(final_norm=True)).eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        expected, given = plain(x), normed(x)
        torch.testing.assert_close(given[-1], normed.final_norm(expected[-1]))
    for ours, theirs in zip(given[:-1], expected[:-1], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.allclose(given[-1], expected[-1])


def test_it_is_found_by_its_name_with_and_without_scope(family):
    from mmdet.registry import MODELS

    kind = type(family())
    assert MODELS.get(kind.__name__) is kind
    assert MODELS.get(f'mmtrtvit.{kind.__name__}') is kind


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('indices', [(0,), (2,), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize('final_norm', [False, True])
@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_are_finite_and_reach_every_parameter(family, randomise, indices, final_norm, with_cp):
    backbone = randomise(family(out_indices=indices, final_norm=final_norm, with_cp=with_cp)).train()
    gradients = train_step(backbone, torch.randn(2, 3, 96, 64))
    for name, gradient in gradients.items():
        assert gradient is not None, f'{name} has no gradient'
        assert gradient.isfinite().all(), name
        assert name.endswith(WITHOUT_EFFECT) or gradient.abs().max() > 0, f'{name} has no effect'


def test_gradient_reaches_the_image(family):
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    loss_of(family(with_cp=True).eval()(x)).backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0


@pytest.mark.parametrize('family', WITH_BATCH_NORM, indirect=True)
@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(drop_path_rate=0.5),
        dict(drop_path_rate=0.5, frozen_stages=2),
        dict(norm_eval=True),
        dict(norm_cfg=dict(type='BN', momentum=None)),
        dict(norm_cfg=dict(type='GN', num_groups=4)),
    ],
    ids=str,
)
def test_checkpointing_changes_nothing_but_memory(family, randomise, settings):
    plain = randomise(family(**settings)).double().train()
    checkpointed = family(**settings, with_cp=True).double().train()
    checkpointed.load_state_dict(plain.state_dict())
    for step in range(2):
        x = torch.randn(3, 3, 64, 64, dtype=torch.float64)
        expected, given = (train_step(backbone, x, seed=step) for backbone in (plain, checkpointed))
        assert expected.keys() == given.keys()
        for name, gradient in expected.items():
            if gradient is None:
                assert given[name] is None, name
            else:
                torch.testing.assert_close(given[name], gradient, rtol=1e-9, atol=1e-9, msg=name)
    for name, buffer in plain.named_buffers():
        assert torch.equal(checkpointed.get_buffer(name), buffer), name
    for ours, theirs in zip(batch_norms(checkpointed), batch_norms(plain), strict=True):
        assert ours.momentum == theirs.momentum


@pytest.mark.parametrize('family', WITHOUT_OUTPUT_NORMS, indirect=True)
def test_checkpointing_keeps_the_input_of_each_block_only(family):
    x = torch.randn(1, 3, 64, 64)

    def kept(network):
        shapes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.append(t.shape) or t, lambda t: t):
            network.train()(x)
        return shapes

    stem, plain, checkpointed = kept(family().stem), kept(family()), kept(family(with_cp=True))
    assert len(checkpointed) == len(stem) + 7, 'one input for each of 1 + 2 + 2 + 2 blocks'
    assert len(plain) > len(checkpointed)


def test_checkpointing_is_off_where_nothing_is_trained(family, monkeypatch):
    from mmtrtvit.models.backbones import base

    def refuse(*_):
        raise AssertionError('checkpointing without gradients')

    monkeypatch.setattr(base, 'recompute_in_backward', refuse)
    with torch.no_grad():
        family(with_cp=True).train()(torch.randn(2, 3, 64, 64))


# --- frozen parts -------------------------------------------------------------------------------------------


def parts(backbone):
    return [backbone.stem, *backbone.stages]


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize('with_cp', [False, True])
def test_frozen_parts_do_not_move_in_a_real_step(family, randomise, frozen, with_cp):
    backbone = randomise(family(frozen_stages=frozen, with_cp=with_cp, final_norm=True, drop_path_rate=0.1))
    backbone.eval()
    backbone.train()
    before = copy.deepcopy(backbone.state_dict())
    optimiser = torch.optim.SGD(backbone.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        loss_of(backbone(torch.randn(2, 3, 64, 64))).backward()
        optimiser.step()
        backbone.train()  # as mmengine's loop does after each evaluation
    after = backbone.state_dict()

    prefixes = ['stem.', 'stages.0.', 'stages.1.', 'stages.2.', 'stages.3.']
    still, moving = tuple(prefixes[: frozen + 1]), tuple(prefixes[frozen + 1 :])
    for name, value in before.items():
        same = torch.equal(after[name], value)
        if still and name.startswith(still):
            assert same, f'{name} is frozen but moved'
        elif name.startswith((*moving, 'final_norm.')):
            assert not same, f'{name} is not frozen but stands still'
        else:
            raise AssertionError(name)
    for index, part in enumerate(parts(backbone)):
        is_frozen = index <= frozen
        assert all(parameter.requires_grad != is_frozen for parameter in part.parameters())
        assert all(module.training != is_frozen for module in part.modules())


@pytest.mark.parametrize('family', WITHOUT_OUTPUT_NORMS, indirect=True)
@pytest.mark.parametrize('frozen', [1, 4])
def test_more_can_be_frozen_than_is_built(family, frozen):
    backbone = family(out_indices=(0,), frozen_stages=frozen).train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone(torch.randn(1, 3, 64, 64))[0].requires_grad


def test_frozen_from_the_start_and_by_a_trainer_that_switches_the_whole_model(family):
    backbone = family(frozen_stages=1)
    assert not any(parameter.requires_grad for parameter in backbone.stem.parameters())
    detector = torch.nn.Sequential(backbone).train()
    assert not backbone.stem.training and not backbone.stages[0].training
    assert backbone.stages[1].training
    detector.eval()
    assert not any(module.training for module in backbone.modules())


@pytest.mark.parametrize('family', WITH_BATCH_NORM, indirect=True)
def test_norm_eval_stops_the_running_statistics_but_not_the_learning(family):
    backbone = family(norm_eval=True, final_norm=True).train()
    assert backbone.training and backbone.stages[0].training
    assert batch_norms(backbone) and not any(norm.training for norm in batch_norms(backbone))
    buffers = {name: value.clone() for name, value in backbone.named_buffers()}
    gradients = train_step(backbone, torch.randn(2, 3, 64, 64))
    assert all(torch.equal(value, buffers[name]) for name, value in backbone.named_buffers())
    assert all(gradient is not None for gradient in gradients.values())


def test_without_norm_eval_the_running_statistics_follow_the_batches(family):
    backbone = family().train()
    buffers = {name: value.clone() for name, value in backbone.named_buffers()}
    train_step(backbone, torch.randn(2, 3, 64, 64))
    stood_still = [name for name, value in backbone.named_buffers() if torch.equal(value, buffers[name])]
    assert not stood_still


# --- layer depths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_layer_depths_follow_the_forward_pass(family, prefix):
    backbone = family(final_norm=True)
    depths = {name: backbone.get_layer_depth(prefix + name, prefix) for name, _ in backbone.named_parameters()}
    assert {total for _, total in depths.values()} == {9}
    order = [depth for depth, _ in depths.values()]
    assert order == sorted(order), 'parameters are registered in the order of the forward pass'
    parts = ['stem', *(f'stages.{place}' for place in ('0.0', '1.0', '1.1', '2.0', '2.1', '3.0', '3.1')), 'final_norm']
    for expected, part in enumerate(parts):
        found = {depth for name, (depth, _) in depths.items() if name.startswith(f'{part}.')}
        assert found == {expected}, part


def test_what_is_not_of_the_backbone_is_last(family):
    backbone = family()
    assert backbone.get_layer_depth('neck.lateral_convs.0.conv.weight', 'backbone.') == (8, 9)
    assert backbone.get_layer_depth('stem.0.conv.weight', 'backbone.') == (8, 9)
    assert backbone.get_layer_depth('backbone.stem.0.conv.weight', 'backbone.') == (0, 9)
