"""Same weights, same features as timm's Hiera: mask unit attention, Q-pooling, and the whole network."""

import copy

import pytest
import torch

from mmtrtvit.models import TurboViT
from mmtrtvit.models.backbones.turbovit import MaskUnitAttention
from mmtrtvit.weights.turbovit import from_timm

pytestmark = pytest.mark.reference

LIMITS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
# Side of the image, and an arch; the first is Hiera's tiny size, the second the stand-in for TurboViT.
NETWORKS = {
    'tiny': (224, dict(widths=(96, 192, 384, 768), depths=(1, 2, 7, 2), heads=(1, 2, 4, 8), mask_units=(8, 4, 0, 0))),
    'base': (224, dict(widths=(64, 128, 256, 512), depths=(1, 2, 7, 2), heads=(1, 2, 4, 8), mask_units=(8, 4, 0, 0))),
    'other': (256, dict(widths=(32, 64, 128, 256), depths=(2, 3, 2, 2), heads=(2, 4, 8, 16), mask_units=(8, 4, 0, 0))),
    'units': (256, dict(widths=(32, 64, 128, 256), depths=(1, 2, 2, 1), heads=(1, 2, 4, 8), mask_units=(8, 4, 2, 0))),
}


def randomised(module):
    """Random numbers in every parameter, none of them close to no effect."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if 'norm' in name and name.endswith('weight'):
                value.normal_(1, 0.2)
            elif value.dim() > 1 and 'pos_embed' not in name:
                value.normal_(0, value[0].numel() ** -0.5)
            else:
                value.normal_(0, 0.3)
    return module.eval()


@pytest.fixture(scope='module', params=NETWORKS)
def pair(request):
    """timm's network and ours with its weights, without the norms on our maps, and the side of its images."""
    from timm.models.hiera import Hiera

    torch.manual_seed(0)
    size, arch = NETWORKS[request.param]
    theirs = randomised(
        Hiera(
            img_size=(size, size),
            embed_dim=arch['widths'][0],
            num_heads=arch['heads'][0],
            stages=arch['depths'],
            mask_unit_attn=tuple(side > 0 for side in arch['mask_units']),
        )
    )
    ours = TurboViT(arch=arch, resolution=size // 4).eval()
    ours.output_norms = torch.nn.ModuleDict()
    renamed = from_timm(theirs.state_dict())
    assert set(renamed.mapped) | set(renamed.dropped) == set(theirs.state_dict())
    assert all(name.startswith('head.') for name in renamed.dropped)
    ours.load_state_dict(renamed.weights)
    return theirs, ours, size


@pytest.mark.parametrize(('dtype', 'limit'), LIMITS, ids=['32', '64'])
@pytest.mark.parametrize('deployed', [False, True], ids=['training form', 'deploy form'])
def test_same_features(pair, dtype, limit, deployed):
    theirs, ours = (copy.deepcopy(module).to(dtype) for module in pair[:2])
    if deployed:
        ours.switch_to_deploy()
    x = torch.randn(2, 3, pair[2], pair[2], dtype=dtype)
    with torch.no_grad():
        expected, given = theirs.forward_intermediates(x, intermediates_only=True), ours(x)
    for mine, other in zip(given, expected, strict=True):
        assert other.std() > 0.1, 'the weights leave nothing to compare'
        assert (mine - other).abs().max() <= limit * other.abs().max()


def test_same_gradients(pair):
    theirs, ours = (copy.deepcopy(module).double().train() for module in pair[:2])
    x = torch.randn(1, 3, pair[2], pair[2], dtype=torch.float64)
    theirs.forward_intermediates(x, intermediates_only=True)[-1].square().sum().backward()
    ours(x)[-1].square().sum().backward()
    gradients = {name: value.grad for name, value in theirs.named_parameters() if value.grad is not None}
    renamed = from_timm(gradients).weights
    assert renamed.keys() == dict(ours.named_parameters()).keys()
    largest = max(value.abs().max() for value in renamed.values())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, renamed[name], rtol=1e-8, atol=1e-10 * largest.item(), msg=name)


@pytest.mark.parametrize(('dtype', 'limit'), LIMITS, ids=['32', '64'])
@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('side', [0, 4, 8])
def test_mask_unit_attention_and_query_pooling(side, pool, dtype, limit):
    """The layer by itself, on tokens that timm has reordered so that those of a unit follow each other."""
    from timm.models.hiera import MaskUnitAttention as Theirs
    from timm.models.hiera import Reroll, Unroll

    torch.manual_seed(0)
    size, dim, heads = (16, 24), 16, 4
    # A unit of 4 x 4 tokens is two foldings of 2 x 2, one of 8 x 8 three; what is pooled is one of them.
    folds = {0: 1, 4: 2, 8: 3}[side]
    theirs = randomised(
        Theirs(
            dim,
            2 * dim,
            heads,
            q_stride=4 if pool else 1,
            window_size=4 ** (folds - pool),
            use_mask_unit_attn=side > 0,
        )
    ).to(dtype)
    ours = MaskUnitAttention(dim, 2 * dim, heads, side, pool).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, *size, dim, dtype=dtype)
    schedule = [(2, 2)] * folds
    tokens = Unroll(size, (1, 1), schedule)(x.flatten(1, 2))
    with torch.no_grad():
        mixed = theirs(tokens)
        # After the pooling, the first folding is used up.
        back = Reroll(size, (1, 1), schedule, [0, 1], 1)
        expected = back(mixed, 1 if pool else 0)
        given = ours(x.flatten(1, 2), *size).reshape(expected.shape)
    assert expected.std() > 0.01, 'the weights leave nothing to compare'
    assert (given - expected).abs().max() <= limit * expected.abs().max()
