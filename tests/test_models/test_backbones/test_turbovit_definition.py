"""TurboViT's blocks against a second implementation that knows no padding: every token looks for those of its unit.

Norms and linear layers come from torch.nn.functional; the weights out of the state dict, by name.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.models import TurboViT
from mmtrtvit.models.backbones.turbovit import MaskUnitBlock, PatchEmbedding

EXACT = dict(rtol=1e-9, atol=1e-9)
ARCH = dict(widths=(8, 16, 16, 32), depths=(2, 2, 2, 1), heads=(1, 2, 2, 4), mask_units=(8, 4, 0, 0))


@pytest.fixture
def prepared(randomise):
    """In float64, for testing, with a random position embedding."""

    def prepare(module):
        randomise(module).double().eval()
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, PatchEmbedding):
                    part.position.normal_()
        return module

    return prepare


# --- the second implementation ------------------------------------------------------------------------------


def below(weights, name):
    return {key.removeprefix(f'{name}.'): value for key, value in weights.items() if key.startswith(f'{name}.')}


def linear(x, weights, name):
    return F.linear(x, weights[f'{name}.weight'], weights[f'{name}.bias'])


def norm(x, weights, name):
    return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'], weights[f'{name}.bias'], 1e-6)


def pooled(x):
    """Maximum over 2x2 tokens of a list of rows of tokens, at an odd end over those that are there."""
    return [
        [
            torch.stack([token for row in x[i : i + 2] for token in row[j : j + 2]]).amax(0)
            for j in range(0, len(x[0]), 2)
        ]
        for i in range(0, len(x), 2)
    ]


def rows_of(x):
    return [[x[:, i, j] for j in range(x.shape[2])] for i in range(x.shape[1])]


def map_of(rows):
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def attention(x, weights, heads, side, pool):
    """Each query's own softmax over the real tokens of its unit."""
    projected = linear(x, weights, 'qkv')
    dim = projected.shape[-1] // 3
    queries, keys, values = (rows_of(projected[..., i * dim : (i + 1) * dim]) for i in range(3))
    step = 1
    if pool:
        queries, step = pooled(queries), 2
    size = dim // heads
    mixed = [[None] * len(queries[0]) for _ in queries]
    for i, row in enumerate(queries):
        for j, query in enumerate(row):
            seen = [
                (a, b)
                for a in range(len(keys))
                for b in range(len(keys[0]))
                if side == 0 or (a // side == i * step // side and b // side == j * step // side)
            ]
            parts = []
            for head in range(heads):
                own = slice(head * size, (head + 1) * size)
                scores = [(query[:, own] * keys[a][b][:, own]).sum(-1) / math.sqrt(size) for a, b in seen]
                share = torch.stack(scores).exp()
                share = share / share.sum(0)
                parts.append(sum(s[:, None] * values[a][b][:, own] for s, (a, b) in zip(share, seen, strict=True)))
            mixed[i][j] = torch.cat(parts, -1)
    return linear(map_of(mixed), weights, 'proj')


def block(x, weights, heads, side, pool):
    normed = norm(x, weights, 'norm1')
    x = map_of(pooled(rows_of(linear(normed, weights, 'shortcut')))) if pool else x
    x = x + attention(normed, below(weights, 'attn'), heads, side, pool)
    return x + linear(F.gelu(linear(norm(x, weights, 'norm2'), weights, 'mlp.0')), weights, 'mlp.2')


def position(learned, resolution, height, width):
    """The learned embedding at the centres of ``height x width`` equal cells, in between linearly."""
    result = torch.zeros(height, width, learned.shape[-1], dtype=learned.dtype)
    for i in range(height):
        for j in range(width):
            neighbours = []
            for place, length in ((i, height), (j, width)):
                centre = min(max((place + 0.5) * resolution / length - 0.5, 0), resolution - 1)
                low = math.floor(centre)
                neighbours.append([(1 - centre + low, low), (centre - low, min(low + 1, resolution - 1))])
            for down, row in neighbours[0]:
                for right, column in neighbours[1]:
                    result[i, j] += down * right * learned[0, row * resolution + column]
    return result


def network(x, weights, arch, resolution):
    x = F.conv2d(x, weights['stem.conv.weight'], weights['stem.conv.bias'], 4, 3).permute(0, 2, 3, 1)
    x = x + position(weights['stem.position'], resolution, *x.shape[1:3])
    maps = []
    for stage, depth in enumerate(arch['depths']):
        for number in range(depth):
            pool = stage > 0 and number == 0
            # The block that pools still attends inside the units of the stage before.
            side = arch['mask_units'][stage - 1 if pool else stage]
            x = block(x, below(weights, f'stages.{stage}.{number}'), arch['heads'][stage], side, pool)
        maps.append(norm(x, weights, f'output_norms.{stage}').permute(0, 3, 1, 2))
    return maps


# --- the tests ----------------------------------------------------------------------------------------------


def assert_same(given, expected):
    assert expected.std() > 0.1, 'the weights leave nothing to compare'
    torch.testing.assert_close(given, expected, **EXACT)


@pytest.mark.parametrize('size', [(8, 12), (9, 5), (4, 11), (1, 3), (1, 1)])
@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('side', [0, 4])
def test_block(prepared, side, pool, size):
    layer = prepared(MaskUnitBlock(8, 16 if pool else 8, 2, side, pool, mlp_ratio=2.0, drop_path=0.2))
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    with torch.no_grad():
        assert_same(layer(x), block(x, layer.state_dict(), 2, side, pool))


@pytest.mark.parametrize('size', [(24, 24), (24, 40), (17, 90), (3, 7), (1, 1)])
@pytest.mark.parametrize('resolution', [1, 6])
def test_position_embedding(prepared, resolution, size):
    layer = prepared(PatchEmbedding(8, resolution))
    cells = [math.ceil(length / 4) for length in size]
    with torch.no_grad():
        assert_same(layer.embedding(*cells), position(layer.position, resolution, *cells))


def test_at_its_own_resolution_the_position_embedding_is_what_was_learned(prepared):
    layer = prepared(PatchEmbedding(8, 6)).requires_grad_(False)
    size = torch.zeros(6, 6)
    # Where a graph is recorded too, which has one form for every size.
    recorded = torch.jit.trace(lambda x: layer.embedding(x.shape[0], x.shape[1]), size)
    for given in (layer.embedding(6, 6), recorded(size)):
        assert torch.equal(given, layer.position.reshape(6, 6, 8))


@pytest.mark.parametrize('size', [(64, 32), (45, 70), (33, 5), (1, 1)])
def test_whole_network(prepared, size):
    backbone = prepared(TurboViT(arch=ARCH, resolution=5))
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        given = backbone(x)
    expected = network(x, backbone.state_dict(), ARCH, 5)
    assert len(given) == 4
    for ours, theirs in zip(given, expected, strict=True):
        assert_same(ours, theirs)
