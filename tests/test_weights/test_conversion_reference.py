"""timm's networks, saved, converted, loaded as a config loads them: the same features."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.errors import CheckpointError
from mmtrtvit.weights.conversion import convert_weights
from mmtrtvit.weights.sources import CONVERTIBLE

pytestmark = pytest.mark.reference

LIMIT = 1e-5
NETWORKS = {
    ('nextvit', 's'): 'nextvit_small',
    ('efficientformer', 'l1'): 'efficientformer_l1',
    ('turbovit', 'base'): '',
}


def build(family, arch):
    """timm's network with random weights that keep activations and statistics of BatchNorm within bounds."""
    import timm
    from timm.models.hiera import Hiera

    net = (
        timm.create_model(NETWORKS[family, arch])
        if NETWORKS[family, arch]
        else Hiera(embed_dim=64, stages=(1, 2, 7, 2), num_heads=1)
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            scale = 0.3 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
            parameter.normal_(0, scale, generator=generator)
        norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.weight.add_(1)
            norm.momentum = 1.0
        net.train()(torch.randn(2, 3, 224, 224, generator=generator))
        for norm in norms:
            norm.running_var.add_(0.1)
    return net.eval()


@pytest.fixture(scope='module', params=NETWORKS, ids=' '.join)
def network(request):
    return (*request.param, build(*request.param))


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_converted_weights_give_the_same_features(network, tmp_path, suffix):
    from safetensors.torch import save_file

    family, arch, net = network
    path, out = tmp_path / f'theirs{suffix}', tmp_path / 'ours.pth'
    if suffix == '.pth':
        torch.save(net.state_dict(), path)
    else:
        save_file(net.state_dict(), path)
    report = convert_weights(path, family, out)
    assert (report.source, report.arch) == ('timm', arch)

    init_cfg = dict(type='Pretrained', checkpoint=str(out))
    # The norms of dense prediction are not timm's: they are taken out here.
    backbone = CONVERTIBLE[family].backbone(arch=arch, init_cfg=init_cfg)
    backbone.init_weights()
    if hasattr(backbone, 'output_norms'):
        backbone.output_norms = torch.nn.ModuleDict()
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net.forward_intermediates(x, norm=False, intermediates_only=True)
        given = backbone.eval()(x)
    assert len(expected[-4:]) == len(given) == 4
    for y, theirs in zip(given, expected[-4:], strict=True):
        assert y.shape == theirs.shape and theirs.std() > 0.1
        assert ((y - theirs).abs().max() / theirs.abs().max()).item() <= LIMIT


def test_the_way_back(network, tmp_path):
    """What was converted, under its old names again, is a state dict of timm's network but for what was dropped."""
    family, _, net = network
    path, out = tmp_path / 'theirs.pth', tmp_path / 'ours.pth'
    torch.save(net.state_dict(), path)
    report = convert_weights(path, family, out)
    ours = torch.load(out, weights_only=True)['state_dict']
    theirs = net.state_dict()
    assert report.mapped.keys() | report.dropped.keys() == theirs.keys()
    for old, new in report.mapped.items():
        assert torch.equal(ours[new], theirs[old]), old


def test_damaged_safetensors_are_refused(network, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / 'theirs.safetensors'
    save_file(network[2].state_dict(), path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:100], b''):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match='cannot be read as safetensors'):
            convert_weights(path, network[0], tmp_path / 'ours.pth')
    assert [entry.name for entry in tmp_path.iterdir()] == ['theirs.safetensors']


def test_another_network_of_timm_is_refused(tmp_path):
    import timm

    for name in ('resnet18', 'vit_tiny_patch16_224', 'efficientformerv2_s0'):
        torch.save(timm.create_model(name).state_dict(), tmp_path / 'other.pth')
        for family in CONVERTIBLE:
            with pytest.raises(CheckpointError):
                convert_weights(tmp_path / 'other.pth', family, tmp_path / 'ours.pth')
    assert [entry.name for entry in tmp_path.iterdir()] == ['other.pth']
