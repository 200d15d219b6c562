"""Next-ViT's blocks against the paper's formulas, written out naively in float64."""

import math

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmtrtvit.models import NextViT
from mmtrtvit.models.backbones.next_vit import ARCH_SETTINGS, EMHSA, MHCA, MLP, NCB, NTB, TokenPool, WindowPool

BN = dict(type='BN')
SIZES = [(8, 8), (4, 12), (7, 5), (3, 3), (1, 2), (1, 1)]


def image(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def naive_norm(norm, x):
    shape = (1, -1, 1, 1)
    scaled = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def naive_tokens(x, ratio):
    """Means of each ``ratio^2`` pixels in row-major order, the last one of what is left: ``(B, C, N)``."""
    pixels = [x[..., row, column] for row in range(x.shape[2]) for column in range(x.shape[3])]
    groups = [pixels[start : start + ratio**2] for start in range(0, len(pixels), ratio**2)]
    return torch.stack([sum(group) / len(group) for group in groups], dim=-1)


def naive_windows(x, ratio):
    """Means of each window of ``ratio x ratio`` pixels, as far as it lies in the map: ``(B, C, N)``."""
    rows, columns = range(0, x.shape[2], ratio), range(0, x.shape[3], ratio)
    windows = [x[..., row : row + ratio, column : column + ratio] for row in rows for column in columns]
    return torch.stack([window.flatten(2).mean(-1) for window in windows], dim=-1)


NAIVE_POOLS = {'tokens': naive_tokens, 'windows': naive_windows}


def naive_attention(attn, x, ratio, kv_pool):
    """One query and one head at a time."""
    heads, dim = attn.heads
    normed = naive_norm(attn.norm, x)
    pooled = normed.flatten(2)
    if ratio > 1:
        pooled = NAIVE_POOLS[kv_pool](normed, ratio)
        pooled = naive_norm(attn.kv_norm, pooled[..., None])[..., 0]
    q, k, v = (
        torch.einsum('oc,bcn->bon', layer.weight, tokens) + layer.bias[None, :, None]
        for layer, tokens in ((attn.q, normed.flatten(2)), (attn.k, pooled), (attn.v, pooled))
    )
    mixed = torch.zeros_like(q)
    for sample in range(q.shape[0]):
        for head in range(heads):
            part = slice(head * dim, (head + 1) * dim)
            for query in range(q.shape[-1]):
                scores = torch.stack([q[sample, part, query] @ key for key in k[sample, part].unbind(-1)])
                shares = (scores / math.sqrt(dim)).exp()
                shares = shares / shares.sum()
                mixed[sample, part, query] = sum(
                    share * value for share, value in zip(shares, v[sample, part].unbind(-1), strict=True)
                )
    result = torch.einsum('oc,bcn->bon', attn.proj.weight, mixed) + attn.proj.bias[None, :, None]
    return result.unflatten(-1, x.shape[2:])


def naive_mhca(mhca, x, head_dim):
    conv, norm = mhca[0].conv, mhca[0].norm
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    mixed = torch.zeros_like(x)
    for group in range(x.shape[1] // head_dim):
        part = slice(group * head_dim, (group + 1) * head_dim)
        for row in range(3):
            for column in range(3):
                shifted = padded[:, part, row : row + x.shape[2], column : column + x.shape[3]]
                mixed[:, part] += torch.einsum('oc,bchw->bohw', conv.weight[part, :, row, column], shifted)
    return torch.einsum('oc,bchw->bohw', mhca[1].weight[..., 0, 0], naive_norm(norm, mixed).clamp(min=0))


def naive_mlp(mlp, x):
    hidden = torch.einsum('oc,bchw->bohw', mlp.fc1.weight[..., 0, 0], naive_norm(mlp.norm, x))
    hidden = (hidden + mlp.fc1.bias.view(1, -1, 1, 1)).clamp(min=0)
    return torch.einsum('oc,bchw->bohw', mlp.fc2.weight[..., 0, 0], hidden) + mlp.fc2.bias.view(1, -1, 1, 1)


def naive_projection(projection, x, stride):
    if isinstance(projection, nn.Identity):
        return x
    side = math.ceil(x.shape[2] / stride), math.ceil(x.shape[3] / stride)
    pooled = naive_windows(x, stride).unflatten(-1, side)
    module = projection[-1]
    return naive_norm(module.norm, torch.einsum('oc,bchw->bohw', module.conv.weight[..., 0, 0], pooled))


# --- pooling of keys and values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(('pool', 'naive'), [(TokenPool, naive_tokens), (WindowPool, naive_windows)])
@pytest.mark.parametrize('ratio', [2, 3, 8])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_pools(pool, naive, ratio, size):
    x = image(2, 3, *size)
    torch.testing.assert_close(pool(ratio)(x).flatten(2), naive(x, ratio), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('ratio', [2, 4])
def test_token_pool_is_the_official_one_where_that_leaves_nothing_out(ratio):
    x = image(2, 3, 4, 12)
    official = nn.AvgPool1d(ratio**2, ratio**2)(x.flatten(2))
    torch.testing.assert_close(TokenPool(ratio)(x).flatten(2), official, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(WindowPool(ratio)(x).flatten(2), official)


@pytest.mark.parametrize('pool', [TokenPool, WindowPool])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_every_pixel_has_a_part_in_one_key(pool, size):
    x = image(1, 1, *size).requires_grad_()
    pooled = pool(4)(x)
    pooled.sum().backward()
    assert (x.grad > 0).all()
    assert x.grad.sum().item() == pytest.approx(pooled.numel())


# --- layers and blocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kv_pool', NAIVE_POOLS)
@pytest.mark.parametrize('ratio', [1, 2, 3])
@pytest.mark.parametrize('size', [(4, 6), (5, 3), (1, 1)], ids=str)
def test_attention(randomise, kv_pool, ratio, size):
    attn = randomise(EMHSA(12, 4, ratio, kv_pool, BN)).double().eval()
    x = image(2, 12, *size)
    with torch.no_grad():
        expected = naive_attention(attn, x, ratio, kv_pool)
        torch.testing.assert_close(attn(x), expected, rtol=1e-9, atol=1e-9)
        attn.switch_to_deploy()
        torch.testing.assert_close(attn(x), expected, rtol=1e-9, atol=1e-9)


def test_the_pooled_map_has_a_norm_of_its_own_where_it_is_pooled():
    assert isinstance(EMHSA(8, 4, 2, 'tokens', BN).kv_norm, nn.BatchNorm2d)
    assert not EMHSA(8, 4, 1, 'tokens', BN).kv_norm.state_dict()


def test_convolutional_attention_and_mlp(randomise):
    x = image(2, 12, 5, 4)
    mhca, mlp = randomise(MHCA(12, 4, BN)).double().eval(), randomise(MLP(12, 2.5, BN)).double().eval()
    assert mlp.fc1.out_channels == 30
    with torch.no_grad():
        torch.testing.assert_close(mhca(x), naive_mhca(mhca, x, 4), rtol=1e-9, atol=1e-9)
        expected = naive_mlp(mlp, x)
        torch.testing.assert_close(mlp(x), expected, rtol=1e-9, atol=1e-9)
        mlp.switch_to_deploy()
        torch.testing.assert_close(mlp(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('channels', 'stride'), [(16, 1), (8, 1), (8, 2), (16, 2)])
def test_next_convolution_block(randomise, channels, stride):
    block = NCB(channels, 16, stride, head_dim=4, mlp_ratio=3, drop_path=0.0, norm_cfg=BN)
    randomise(block).double().eval()
    x = image(2, channels, 5, 4)
    with torch.no_grad():
        y = naive_projection(block.patch_embed, x, stride)
        assert y.shape[1] == 16
        y = y + naive_mhca(block.mhca, y, 4)
        y = y + naive_mlp(block.mlp, y)
        torch.testing.assert_close(block(x), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('channels', 'stride', 'mix', 'parts'), [(8, 2, 0.75, (12, 4)), (12, 1, 0.5, (8, 8))])
def test_next_transformer_block(randomise, channels, stride, mix, parts):
    settings = dict(head_dim=4, mlp_ratio=2, mix_ratio=mix, kv_ratio=2, kv_pool='tokens', drop_path=0.0, norm_cfg=BN)
    block = NTB(channels, 16, stride, **settings)
    randomise(block).double().eval()
    assert (block.attn.q.in_features, block.mhca[1].in_channels) == parts
    x = image(2, channels, 5, 4)
    with torch.no_grad():
        y = naive_projection(block.patch_embed, x, stride)
        low = y + naive_attention(block.attn, y, 2, 'tokens')
        high = naive_projection(block.proj, low, 1)
        high = high + naive_mhca(block.mhca, high, 4)
        y = torch.cat([low, high], dim=1)
        y = y + naive_mlp(block.mlp, y)
        torch.testing.assert_close(block(x), y, rtol=1e-9, atol=1e-9)


# --- the published sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'groups'), [('s', 2), ('b', 4), ('l', 6)])
def test_blocks_of_the_published_sizes(name, groups):
    with torch.device('meta'):
        backbone = NextViT(arch=name)
    expected = [
        [(NCB, 96)] * 3,
        [(NCB, 192)] * 3 + [(NTB, 256)],
        ([(NCB, 384)] * 4 + [(NTB, 512)]) * groups,
        [(NCB, 768)] * 2 + [(NTB, 1024)],
    ]
    assert [[(type(block), block.mlp.fc2.out_channels) for block in stage] for stage in backbone.stages] == expected
    hidden = [{block.mlp.fc1.out_channels for block in stage} for stage in backbone.stages]
    assert hidden == [{288}, {576, 512}, {1152, 1024}, {2304, 2048}]
    for stage, (channels, pool) in enumerate([(192, (1, 16)), (384, (1, 4)), (768, None)], start=1):
        block = backbone.stages[stage][-1]
        assert block.attn.heads == (channels // 32, 32)
        assert block.mhca[0].conv.groups == channels // 3 // 32
        assert getattr(block.attn.kv_pool, 'window', None) == pool
    stem = [(part.conv.out_channels, part.conv.kernel_size, part.conv.stride) for part in backbone.stem]
    assert stem == [(64, (3, 3), (2, 2)), (32, (3, 3), (1, 1)), (64, (3, 3), (1, 1)), (64, (3, 3), (2, 2))]
    assert all(isinstance(part, ConvModule) and isinstance(part.activate, nn.ReLU) for part in backbone.stem)
    assert ARCH_SETTINGS[name]['provenance'].startswith('published')


def test_every_norm_is_a_batch_norm_with_the_official_epsilon():
    with torch.device('meta'):
        backbone = NextViT(arch='s', with_extra_norm=True)
    norms = [module for module in backbone.modules() if 'Norm' in type(module).__name__]
    assert len(norms) > 60
    assert all(isinstance(norm, nn.BatchNorm2d) and norm.eps == 1e-5 for norm in norms)
