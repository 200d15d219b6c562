"""Every block against a second implementation, written from its definition with sums and loops only.

Nothing of mmcv, mmtrtvit, torch.nn or torch.nn.functional computes the expected values: only the weights are
taken out of the state dict, by name.
"""

import math

import pytest
import torch

from mmtrtvit.models import TRTViT
from mmtrtvit.models.backbones.trt_vit import (
    BottleNeck,
    MixBlockA,
    MixBlockB,
    MixBlockC,
    Transformer,
    TransformerLayer,
)

BN = dict(type='BN')
HEAD_DIM = 8
MLP_RATIO = 3.0
LAYER = dict(head_dim=HEAD_DIM, mlp_ratio=MLP_RATIO, drop_path=0.2)
EXACT = dict(rtol=1e-9, atol=1e-9)

# --- the second implementation ------------------------------------------------------------------------------


def below(weights, name):
    return {key.removeprefix(f'{name}.'): value for key, value in weights.items() if key.startswith(f'{name}.')}


def halved(size, stride):
    return math.ceil(size / stride)


def convolution(x, weight, stride, padding):
    batch, channels, height, width = x.shape
    out_height, out_width = halved(height, stride), halved(width, stride)
    padded = torch.zeros(batch, channels, height + 2 * padding, width + 2 * padding, dtype=x.dtype)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    result = torch.zeros(batch, weight.shape[0], out_height, out_width, dtype=x.dtype)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            rows = [row + stride * i for i in range(out_height)]
            columns = [column + stride * i for i in range(out_width)]
            seen = padded[:, :, rows][:, :, :, columns]
            result += torch.einsum('oi,bihw->bohw', weight[:, :, row, column], seen)
    return result


def batch_norm(x, weights):
    def per_channel(name):
        return weights[name].reshape(1, -1, 1, 1)

    normal = (x - per_channel('running_mean')) / (per_channel('running_var') + 1e-5) ** 0.5
    return normal * per_channel('weight') + per_channel('bias')


def conv_norm(x, weights, stride=1, padding=0):
    assert 'conv.bias' not in weights
    return batch_norm(convolution(x, weights['conv.weight'], stride, padding), below(weights, 'bn'))


def relu(x):
    return torch.where(x > 0, x, torch.zeros_like(x))


def bottleneck(x, weights, stride=1):
    y = relu(conv_norm(x, below(weights, 'conv1')))
    y = relu(conv_norm(y, below(weights, 'conv2'), stride, padding=1))
    y = conv_norm(y, below(weights, 'conv3'))
    shortcut = below(weights, 'shortcut')
    return relu(y + (conv_norm(x, shortcut, stride) if shortcut else x))


def layer_norm(tokens, weights):
    mean = tokens.sum(-1, keepdim=True) / tokens.shape[-1]
    variance = ((tokens - mean) ** 2).sum(-1, keepdim=True) / tokens.shape[-1]
    return (tokens - mean) / (variance + 1e-5) ** 0.5 * weights['weight'] + weights['bias']


def linear(tokens, weights):
    return torch.einsum('oi,bni->bno', weights['weight'], tokens) + weights['bias']


def self_attention(tokens, weights, head_dim):
    dim = tokens.shape[-1]
    projected = linear(tokens, below(weights, 'qkv'))
    queries, keys, values = (projected[..., i * dim : (i + 1) * dim] for i in range(3))
    mixed = torch.zeros_like(tokens)
    for head in range(dim // head_dim):
        own = slice(head * head_dim, (head + 1) * head_dim)
        likeness = torch.einsum('bnd,bmd->bnm', queries[..., own], keys[..., own]) / math.sqrt(head_dim)
        share = torch.exp(likeness)
        share = share / share.sum(-1, keepdim=True)
        mixed[..., own] = torch.einsum('bnm,bmd->bnd', share, values[..., own])
    return linear(mixed, below(weights, 'proj'))


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def transformer_layer(x, weights, head_dim=HEAD_DIM):
    batch, channels, height, width = x.shape
    tokens = torch.stack([x[:, :, i // width, i % width] for i in range(height * width)], dim=1)
    tokens = tokens + self_attention(layer_norm(tokens, below(weights, 'norm1')), below(weights, 'attn'), head_dim)
    hidden = gelu(linear(layer_norm(tokens, below(weights, 'norm2')), below(weights, 'mlp.0')))
    tokens = tokens + linear(hidden, below(weights, 'mlp.2'))
    result = torch.empty_like(x)
    for i in range(height * width):
        result[:, :, i // width, i % width] = tokens[:, i]
    return result


def projection(x, weights, stride):
    if stride == 1:
        return conv_norm(x, below(weights, '0'))
    cells = [
        [x[:, :, i : i + stride, j : j + stride].mean((2, 3)) for j in range(0, x.shape[3], stride)]
        for i in range(0, x.shape[2], stride)
    ]
    return conv_norm(torch.stack([torch.stack(row, -1) for row in cells], -2), below(weights, '1'))


def transformer(x, weights, stride=1):
    proj = below(weights, 'proj')
    return transformer_layer(projection(x, proj, stride) if proj else x, below(weights, 'transformer'))


def mix_block_a(x, weights, stride=1):
    x = projection(x, below(weights, 'proj'), stride)
    parallel = transformer_layer(x, below(weights, 'transformer')), bottleneck(x, below(weights, 'bottleneck'))
    return torch.cat(parallel, 1)


def mix_block_b(x, weights, stride=1):
    local = bottleneck(projection(x, below(weights, 'proj'), stride), below(weights, 'bottleneck'))
    between = below(weights, 'between')
    narrowed = projection(local, between, 1) if between else local
    return torch.cat((local, transformer_layer(narrowed, below(weights, 'transformer'))), 1)


def mix_block_c(x, weights, stride=1):
    first = transformer_layer(projection(x, below(weights, 'proj'), stride), below(weights, 'transformer'))
    return torch.cat((first, bottleneck(first, below(weights, 'bottleneck'))), 1)


def stem(x, weights):
    x = relu(conv_norm(x, below(weights, '0'), stride=2, padding=3))
    batch, channels, height, width = x.shape
    padded = torch.full((batch, channels, height + 2, width + 2), -math.inf, dtype=x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    windows = [
        padded[:, :, [row + 2 * i for i in range(halved(height, 2))]][
            :, :, :, [column + 2 * i for i in range(halved(width, 2))]
        ]
        for row in range(3)
        for column in range(3)
    ]
    return torch.stack(windows).amax(0)


NAIVE = {'C': bottleneck, 'T': transformer, 'A': mix_block_a, 'B': mix_block_b, 'M': mix_block_c}


def network(x, weights, block_types):
    x = stem(x, below(weights, 'stem'))
    maps = []
    for index, letters in enumerate(block_types):
        for position, letter in enumerate(letters):
            stride = 2 if index > 0 and position == 0 else 1
            x = NAIVE[letter](x, below(weights, f'stages.{index}.{position}'), stride)
        maps.append(x)
    return maps


# --- the tests ----------------------------------------------------------------------------------------------


def assert_same(block, x, expected):
    with torch.no_grad():
        given = block(x)
    assert expected.std() > 0.1, 'the weights leave nothing to compare'
    torch.testing.assert_close(given, expected, **EXACT)


@pytest.fixture
def prepared(randomise):
    def prepare(module):
        return randomise(module).double().eval()

    return prepare


@pytest.mark.parametrize('size', [(6, 8), (5, 7)], ids=['even', 'odd'])
@pytest.mark.parametrize(('channels', 'stride'), [((32, 32), 1), ((32, 32), 2), ((16, 48), 1), ((32, 64), 2)])
def test_bottleneck(prepared, channels, stride, size):
    block = prepared(BottleNeck(*channels, stride=stride, drop_path=0.2, norm_cfg=BN))
    x = torch.randn(2, channels[0], *size, dtype=torch.float64)
    assert_same(block, x, bottleneck(x, block.state_dict(), stride))


def test_transformer_layer(prepared):
    layer = prepared(TransformerLayer(32, **LAYER))
    assert layer.mlp[0].out_features == 3 * 32
    x = torch.randn(2, 32, 4, 5, dtype=torch.float64)
    assert_same(layer, x, transformer_layer(x, layer.state_dict()))


@pytest.mark.parametrize(('channels', 'stride'), [((32, 32), 1), ((32, 32), 2), ((24, 40), 1), ((24, 40), 2)])
def test_transformer(prepared, channels, stride):
    block = prepared(Transformer(*channels, stride=stride, **LAYER, norm_cfg=BN))
    x = torch.randn(2, channels[0], 5, 7, dtype=torch.float64)
    assert_same(block, x, transformer(x, block.state_dict(), stride))


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('ratio', [0.25, 0.5, 0.75])
@pytest.mark.parametrize(
    ('kind', 'naive'), [(MixBlockA, mix_block_a), (MixBlockB, mix_block_b), (MixBlockC, mix_block_c)]
)
def test_mix_block(prepared, kind, naive, ratio, stride):
    block = prepared(kind(48, 64, stride=stride, shrink_ratio=ratio, **LAYER, norm_cfg=BN))
    weights = block.state_dict()
    x = torch.randn(2, 48, 5, 7, dtype=torch.float64)
    assert_same(block, x, naive(x, weights, stride))
    assert weights['transformer.attn.proj.weight'].shape == (64 * ratio, 64 * ratio)


@pytest.mark.parametrize('block_types', [('C', 'C', 'C', 'M'), ('C', 'CT', 'AT', 'BMA'), ('T', 'A', 'BC', 'M')])
def test_whole_network(prepared, block_types):
    depths = [len(letters) for letters in block_types]
    arch = dict(widths=(16, 32, 32, 64), depths=depths, block_types=block_types)
    backbone = prepared(TRTViT(arch=arch, head_dim=HEAD_DIM))
    x = torch.randn(1, 3, 65, 47, dtype=torch.float64)
    with torch.no_grad():
        given = backbone(x)
    expected = network(x, backbone.state_dict(), block_types)
    assert len(given) == 4
    for ours, theirs in zip(given, expected, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_the_last_stage_is_mix_block_c_with_half_the_channels_global():
    backbone = TRTViT(arch='a')
    kinds = [{type(block) for block in stage} for stage in backbone.stages]
    assert kinds == [{BottleNeck}, {BottleNeck}, {BottleNeck}, {MixBlockC}]
    for block in backbone.stages[-1]:
        assert block.global_channels == block.local_channels == 512
        attention = block.transformer.attn
        assert (attention.qkv.heads, attention.qkv.sizes) == (16, [32, 32, 32])
        assert block.transformer.mlp[0].out_features == 3 * 512
