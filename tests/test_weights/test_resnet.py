"""A start of TRT-ViT-D from a ResNet: the same maps where it has the same blocks, and a report of the rest."""

import pytest
import torch

from mmtrtvit.errors import CheckpointError
from mmtrtvit.models import TRTViT
from mmtrtvit.weights.conversion import convert_weights
from mmtrtvit.weights.resnet import RESNETS, anew, from_resnet

NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def names_elsewhere(depths):
    names = ['conv1.weight', *(f'bn1.{name}' for name in NORM), 'fc.weight', 'fc.bias']
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            at = f'layer{stage}.{block}'
            names += [f'{at}.conv{place}.weight' for place in (1, 2, 3)]
            names += [f'{at}.bn{place}.{name}' for place in (1, 2, 3) for name in NORM]
            if block == 0:
                names += [f'{at}.downsample.0.weight', *(f'{at}.downsample.1.{name}' for name in NORM)]
    return names


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('depth', RESNETS)
def test_every_tensor_is_placed_or_dropped_and_the_rest_starts_anew(depth, prefix):
    names = [name if name.startswith('fc') else prefix + name for name in names_elsewhere(RESNETS[depth])]
    found = from_resnet({name: torch.tensor(index) for index, name in enumerate(names)})
    assert found.mapped.keys() | found.dropped.keys() == set(names)
    with torch.device('meta'):
        ours = TRTViT(arch='d').state_dict().keys()
    starts = {name for name in ours if anew(name, found.weights)}
    assert found.weights.keys() | starts == ours and not found.weights.keys() & starts
    # 3 of ResNet's blocks for the 4 of the first stage; in the third one it has fewer (50) or more than 16
    blocks = {name.split('.conv1')[0] for name in found.weights if '.conv1.conv' in name}
    assert len(blocks) == 3 + 4 + min(RESNETS[depth][2], 16)
    assert found.mapped[f'{prefix}layer3.0.downsample.1.running_var'] == 'stages.2.0.shortcut.bn.running_var'


def test_other_resnets_and_incomplete_ones_are_refused():
    weights = dict.fromkeys(names_elsewhere((3, 4, 6, 3)), torch.zeros(1))
    lacking = {name: value for name, value in weights.items() if name != 'layer2.1.bn2.bias'}
    with pytest.raises(CheckpointError, match=r'stages\.1\.1\.conv2\.bn\.bias .* missing'):
        from_resnet(lacking, 'x.pth')
    with pytest.raises(CheckpointError, match='x.pth has 2, 4, 6, 3 blocks'):
        from_resnet({name: value for name, value in weights.items() if not name.startswith('layer1.2')}, 'x.pth')
    basic = {name: value for name, value in weights.items() if 'conv3' not in name and 'bn3' not in name}
    with pytest.raises(CheckpointError, match='missing'):  # the blocks of ResNet-34
        from_resnet(basic, 'x.pth')
    with pytest.raises(CheckpointError, match=r'unknown names: layer1\.0\.se\.conv\.weight'):
        from_resnet({**weights, 'layer1.0.se.conv.weight': torch.zeros(1)}, 'x.pth')


def resnet(depth):
    """mmdet's ResNet in float64, with random weights that keep the maps in bounds."""
    from mmdet.models.backbones import ResNet

    net = ResNet(depth=depth, style='pytorch').double()
    generator = torch.Generator().manual_seed(depth)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.uniform_(0.3, 0.9, generator=generator)
        for name, statistics in net.named_buffers():
            if 'running' in name:
                statistics.uniform_(0.5, 1.5, generator=generator)
    net.eval()
    return net


@pytest.mark.slow
@pytest.mark.parametrize(('depth', 'same'), [(50, 3), (101, 2)])
def test_maps_equal_those_of_the_resnet(tmp_path, depth, same):
    net = resnet(depth)
    torch.save(net.state_dict(), tmp_path / 'resnet.pth')
    report = convert_weights(tmp_path / 'resnet.pth', 'trtvit', tmp_path / 'start.pth')
    assert (report.arch, report.source) == ('d', 'resnet')
    backbone = TRTViT(arch='d', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'start.pth'))).double()
    backbone.init_weights()
    backbone.eval()
    x = torch.randn(1, 3, 97, 130, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, given = net(x), backbone(x)
    for stage in range(same):
        torch.testing.assert_close(given[stage], expected[stage], rtol=0, atol=1e-10)
    assert given[3].isfinite().all()
    # of a deeper ResNet the last blocks of the third stage are left out: near, and not the same
    if same < 3:
        assert 0 < (given[2] - expected[2]).abs().mean() < expected[2].abs().mean()
    # two conversions are the same start
    again = tmp_path / 'again.pth'
    convert_weights(tmp_path / 'resnet.pth', 'trtvit', again)
    first, second = (torch.load(path, weights_only=True)['state_dict'] for path in (tmp_path / 'start.pth', again))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
