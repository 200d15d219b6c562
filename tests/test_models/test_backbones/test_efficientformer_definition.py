"""EfficientFormer's blocks against a second implementation, with loops over pixels for what is particular to them.

Convolutions, norms and linear layers come from torch.nn.functional; the weights out of the state dict, by name.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.models import EfficientFormer
from mmtrtvit.models.backbones.efficientformer import BiasedAttention, LayerScale, Meta3D, Meta4D

BN = dict(type='BN')
ATTENTION = dict(heads=2, key_dim=8, value_ratio=2, resolution=7)
SETTINGS = dict(mlp_ratio=3.0, drop_path=0.2, layer_scale=1e-5, norm_cfg=BN)
EXACT = dict(rtol=1e-9, atol=1e-9)


@pytest.fixture
def prepared(randomise):
    """In float64, for testing, with random numbers in tables and factors too."""

    def prepare(module):
        randomise(module).double().eval()
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, BiasedAttention):
                    part.attention_biases.normal_(0, 2)
                elif isinstance(part, LayerScale):
                    part.gamma.normal_(0.7, 0.3)
        return module

    return prepare


# --- the second implementation ------------------------------------------------------------------------------


def below(weights, name):
    return {key.removeprefix(f'{name}.'): value for key, value in weights.items() if key.startswith(f'{name}.')}


def conv_norm(x, weights, stride, act=None):
    kernel = weights['conv.weight'].shape[-1]
    x = F.conv2d(x, weights['conv.weight'], weights['conv.bias'], stride, kernel // 2)
    norm = below(weights, 'bn')
    x = F.batch_norm(x, norm['running_mean'], norm['running_var'], norm['weight'], norm['bias'])
    return x if act is None else act(x)


def pixel_bias(table, resolution, first, second, height, width):
    """The bias of two pixels: the table at their offset, in between linearly, by the largest offset of each side."""
    entries = [(1.0, 0)]
    for one, other, length in zip(first, second, (height, width), strict=True):
        place = abs(one - other) * (resolution - 1) / max(length - 1, 1)
        low, high = math.floor(place), math.ceil(place)
        neighbours = [(1.0, low)] if low == high else [(high - place, low), (place - low, high)]
        entries = [(share * part, index * resolution + i) for share, index in entries for part, i in neighbours]
    return sum(share * table[:, index] for share, index in entries)


def attention(tokens, weights, height, width, heads, key_dim, value_ratio, resolution):
    value_dim = int(key_dim * value_ratio)
    projected = F.linear(tokens, weights['qkv.weight'], weights['qkv.bias'])
    pixels = [(row, column) for row in range(height) for column in range(width)]
    table = weights['attention_biases']
    bias = torch.stack(
        [torch.stack([pixel_bias(table, resolution, a, b, height, width) for b in pixels], -1) for a in pixels], -2
    )
    outputs = []
    size = 2 * key_dim + value_dim
    for head in range(heads):
        own = projected[..., head * size : (head + 1) * size]
        q, k, v = own[..., :key_dim], own[..., key_dim : 2 * key_dim], own[..., 2 * key_dim :]
        scores = torch.einsum('bnd,bmd->bnm', q, k) / math.sqrt(key_dim) + bias[head]
        share = torch.exp(scores)
        outputs.append(torch.einsum('bnm,bmd->bnd', share / share.sum(-1, keepdim=True), v))
    return F.linear(torch.cat(outputs, -1), weights['proj.weight'], weights['proj.bias'])


def pool(x):
    """Mean of the 3x3 pixels around each one, of those that are inside the map."""
    height, width = x.shape[2:]
    result = torch.empty_like(x)
    for i in range(height):
        for j in range(width):
            result[:, :, i, j] = x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((2, 3))
    return result


def embedded(x, weights):
    embedding = below(weights, 'embedding')
    return conv_norm(x, embedding, 2) if embedding else x


def meta4d(x, weights):
    x = embedded(x, weights)
    x = x + weights['scale1.gamma'][:, None, None] * (pool(x) - x)
    hidden = conv_norm(x, below(weights, 'mlp.0'), 1, F.gelu)
    return x + weights['scale2.gamma'][:, None, None] * conv_norm(hidden, below(weights, 'mlp.1'), 1)


def meta3d(x, weights, settings=ATTENTION):
    x = embedded(x, weights)
    batch, channels, height, width = x.shape
    tokens = torch.stack([x[:, :, i // width, i % width] for i in range(height * width)], 1)

    def norm(name):
        return F.layer_norm(tokens, (channels,), weights[f'{name}.weight'], weights[f'{name}.bias'])

    mixed = attention(norm('norm1'), below(weights, 'attn'), height, width, **settings)
    tokens = tokens + weights['scale1.gamma'] * mixed
    hidden = F.gelu(F.linear(norm('norm2'), weights['mlp.0.weight'], weights['mlp.0.bias']))
    tokens = tokens + weights['scale2.gamma'] * F.linear(hidden, weights['mlp.2.weight'], weights['mlp.2.bias'])
    return torch.stack([tokens[:, i] for i in range(height * width)], -1).reshape(batch, channels, height, width)


def network(x, weights, depths, attention_blocks, settings):
    x = conv_norm(conv_norm(x, below(weights, 'stem.0'), 2, F.relu), below(weights, 'stem.1'), 2, F.relu)
    maps = []
    for stage, (depth, with_attention) in enumerate(zip(depths, attention_blocks, strict=True)):
        for block in range(depth):
            own = below(weights, f'stages.{stage}.{block}')
            x = meta3d(x, own, settings) if block >= depth - with_attention else meta4d(x, own)
        norm = below(weights, f'output_norms.{stage}')
        mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), keepdim=True, unbiased=False)
        scale, shift = (norm[name].reshape(1, -1, 1, 1) for name in ('weight', 'bias'))
        maps.append((x - mean) / (variance + 1e-5) ** 0.5 * scale + shift)
    return maps


# --- the tests ----------------------------------------------------------------------------------------------


def assert_same(given, expected):
    assert expected.std() > 0.1, 'the weights leave nothing to compare'
    torch.testing.assert_close(given, expected, **EXACT)


@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 1), (1, 4)])
@pytest.mark.parametrize(('channels', 'stride'), [((16, 16), 1), ((16, 24), 2)])
def test_meta4d(prepared, channels, stride, size):
    block = prepared(Meta4D(*channels, stride=stride, **SETTINGS))
    x = torch.randn(2, channels[0], *size, dtype=torch.float64)
    with torch.no_grad():
        assert_same(block(x), meta4d(x, block.state_dict()))


@pytest.mark.parametrize('size', [(7, 7), (5, 9), (10, 4), (1, 1), (1, 5)])
@pytest.mark.parametrize(('channels', 'stride'), [((16, 16), 1), ((16, 24), 2)])
def test_meta3d(prepared, channels, stride, size):
    block = prepared(Meta3D(*channels, stride=stride, **SETTINGS, attention=ATTENTION))
    x = torch.randn(2, channels[0], *size, dtype=torch.float64)
    with torch.no_grad():
        assert_same(block(x), meta3d(x, block.state_dict()))


@pytest.mark.parametrize('resolution', [1, 2, 7, 12])
@pytest.mark.parametrize('size', [(7, 7), (12, 5), (9, 9), (2, 3), (1, 6), (1, 1)])
def test_bias_of_every_two_pixels(resolution, size):
    layer = BiasedAttention(16, heads=3, key_dim=8, value_ratio=2, resolution=resolution).double()
    table = torch.nn.init.normal_(layer.attention_biases).detach()
    with torch.no_grad():
        given = layer.bias(*size)
    pixels = [(row, column) for row in range(size[0]) for column in range(size[1])]
    assert given.shape == (3, len(pixels), len(pixels))
    rows = [[pixel_bias(table, resolution, first, second, *size) for second in pixels] for first in pixels]
    torch.testing.assert_close(given, torch.stack([torch.stack(row, -1) for row in rows], -2), **EXACT)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize('resolution', [7, 16, 25])
def test_at_its_own_resolution_the_table_is_looked_up(resolution, dtype):
    layer = BiasedAttention(16, heads=2, key_dim=8, value_ratio=2, resolution=resolution).to(dtype)
    table = torch.nn.init.normal_(layer.attention_biases).detach()
    place = torch.arange(resolution)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(place, place, indexing='ij'))
    index = (rows[:, None] - rows).abs() * resolution + (columns[:, None] - columns).abs()
    with torch.no_grad():
        assert torch.equal(layer.bias(resolution, resolution), table[:, index])


@pytest.mark.parametrize('attention_blocks', [(0, 0, 0, 1), (0, 0, 1, 2), (0, 1, 2, 0)])
def test_whole_network(prepared, attention_blocks):
    depths = (1, 2, 2, 2)
    arch = dict(widths=(16, 24, 32, 40), depths=depths, attention_blocks=attention_blocks)
    settings = dict(ATTENTION, resolution=3)
    backbone = prepared(EfficientFormer(arch=arch, **settings))
    x = torch.randn(2, 3, 65, 47, dtype=torch.float64)
    with torch.no_grad():
        given = backbone(x)
    expected = network(x, backbone.state_dict(), depths, attention_blocks, settings)
    assert len(given) == 4
    for ours, theirs in zip(given, expected, strict=True):
        assert_same(ours, theirs)
