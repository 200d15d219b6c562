"""Same weights, same features as timm's EfficientFormer, at the one input size that it knows."""

import copy

import pytest
import torch

from mmtrtvit.models import EfficientFormer
from mmtrtvit.weights.efficientformer import SOURCES, from_timm

pytestmark = pytest.mark.reference

LIMITS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]


def randomised(module):
    """Random numbers in every parameter and running statistic, none of them close to no effect."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                continue
            if name.endswith('running_var'):
                value.uniform_(0.5, 1.5)
            elif name.endswith('gamma'):
                value.normal_(0.5, 0.2)
            elif 'norm' in name and name.endswith('weight'):
                value.normal_(1, 0.2)
            elif value.dim() > 1 and not name.endswith('attention_biases'):
                value.normal_(0, value[0].numel() ** -0.5)
            else:
                value.normal_(0, 0.3)
    return module.eval()


def features(theirs, x):
    """What each of timm's stages gives, the last one after the classifier's norm, as maps."""
    maps = []
    hooks = [stage.register_forward_hook(lambda *args: maps.append(args[-1])) for stage in theirs.stages]
    with torch.no_grad():
        tokens = theirs.forward_features(x)
    for hook in hooks:
        hook.remove()
    return [*maps[:-1], tokens.transpose(1, 2).unflatten(2, (7, 7))]


@pytest.fixture(scope='module', params=['l1', 'l3', 'l7'])
def pair(request):
    """timm's network and ours with its weights."""
    import timm

    torch.manual_seed(0)
    theirs = randomised(timm.create_model(f'efficientformer_{request.param}', pretrained=False))
    ours = EfficientFormer(arch=request.param, final_norm=True).eval()
    renamed = from_timm(theirs.state_dict())
    assert set(renamed.mapped) | set(renamed.dropped) == set(theirs.state_dict())
    assert set(renamed.dropped.values()) == {'the classifier', 'offsets between pixels, computed for each input size'}
    ours.load_state_dict(renamed.weights)
    return theirs, ours


@pytest.mark.parametrize(('dtype', 'limit'), LIMITS, ids=['32', '64'])
@pytest.mark.parametrize('deployed', [False, True], ids=['training form', 'deploy form'])
def test_same_features(pair, dtype, limit, deployed):
    theirs, ours = (copy.deepcopy(module).to(dtype) for module in pair)
    theirs.train().eval()  # timm keeps the bias of an older type otherwise
    if deployed:
        ours.switch_to_deploy()
    x = torch.randn(2, 3, 224, 224, dtype=dtype)
    expected = features(theirs, x)
    with torch.no_grad():
        given = ours(x)
    for mine, other in zip(given, expected, strict=True):
        assert other.std() > 0.1, 'the weights leave nothing to compare'
        assert (mine - other).abs().max() <= limit * other.abs().max()


def test_same_gradients(pair):
    theirs, ours = (copy.deepcopy(module).double().train() for module in pair)
    if len(theirs.stages[3].blocks) > 5:
        pytest.skip('the smallest size has every kind of block')
    x = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    theirs.forward_features(x).square().sum().backward()
    ours(x)[-1].square().sum().backward()
    gradients = {name: value.grad for name, value in theirs.named_parameters() if value.grad is not None}
    renamed = from_timm(gradients).weights
    assert renamed.keys() == dict(ours.named_parameters()).keys()
    largest = max(value.abs().max() for value in renamed.values())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, renamed[name], rtol=1e-8, atol=1e-10 * largest.item(), msg=name)


def official_name(name):
    """What the official code calls timm's tensor; written from its modules, not from our tables."""
    part, *rest = name.split('.')
    if part == 'stem':
        places = dict(conv1=0, norm1=1, conv2=3, norm2=4)
        return f'patch_embed.{places[rest[0]]}.{rest[1]}'
    if part == 'stages' and rest[1] == 'downsample':
        return f'network.{2 * int(rest[0]) - 1}.{dict(conv="proj", norm="norm")[rest[2]]}.{rest[3]}'
    if part == 'stages':
        inner = '.'.join(rest[3:]).replace('ls1.gamma', 'layer_scale_1').replace('ls2.gamma', 'layer_scale_2')
        return f'network.{2 * int(rest[0])}.{rest[2]}.{inner}'
    return '.'.join([dict(head_dist='dist_head').get(part, part), *rest])


def test_official_names(pair):
    """timm's own filter, which turns the official names into timm's, has the same opinion of them."""
    from timm.models.efficientformer import checkpoint_filter_fn

    theirs, ours = pair
    official = {official_name(name): value for name, value in theirs.state_dict().items()}
    as_timm = checkpoint_filter_fn(dict(official), theirs)
    assert as_timm.keys() == theirs.state_dict().keys()
    renamed = SOURCES['official'](official)
    assert set(renamed.mapped) | set(renamed.dropped) == set(official)
    state = ours.state_dict()
    assert renamed.weights.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in renamed.weights.items())
