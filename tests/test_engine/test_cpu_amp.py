"""bfloat16 on a CPU: what runs in it, what stays float32, and that a network learns so."""

import contextlib
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmtrtvit.engine import CPUAmpOptimWrapper, cpu_amp
from mmtrtvit.errors import ConfigError
from mmtrtvit.models import TRTViT

TINY = dict(widths=(16, 16, 32, 32), depths=(1, 1, 1, 1), block_types='CCCM')

MEASURED = cpu_amp.bfloat16_slowdown


@pytest.fixture(autouse=True)
def bfloat16_is_quick(monkeypatch):
    """As on a CPU that has units for it, whatever this one has."""
    monkeypatch.setattr(cpu_amp, 'bfloat16_slowdown', lambda: 0.2)


@pytest.fixture(autouse=True)
def on_one_core():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Watcher(nn.Module):
    """Keeps the type of what goes through it."""

    def forward(self, x):
        self.dtype = x.dtype
        return x


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), Watcher(), nn.LayerNorm(8), nn.Linear(8, 1))


def wrapper_of(network, **settings):
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    return CPUAmpOptimWrapper(optimizer=optimiser, **settings)


def test_forward_runs_in_bfloat16_inside_the_context_only(network):
    x = torch.randn(2, 4)
    with wrapper_of(network).optim_context(network):
        out = network(x)
    assert network[1].dtype == out.dtype == torch.bfloat16
    assert network(x).dtype == network[1].dtype == torch.float32
    assert not torch.is_autocast_enabled('cpu')


def test_it_is_float32_where_bfloat16_is_slow(network, monkeypatch, caplog):
    monkeypatch.setattr(cpu_amp, 'bfloat16_slowdown', lambda: 8.51)
    logger = MMLogger.get_instance('slow_cpu', log_level='INFO')
    logger.addHandler(caplog.handler)
    wrapper = wrapper_of(network)
    assert [record.getMessage() for record in caplog.records] == [
        'Training in float32: on this CPU bfloat16 is 8.5 times slower.'
    ]
    with wrapper.optim_context(network):
        assert network(torch.randn(2, 4)).dtype == torch.float32
        wrapper.update_params(network(torch.randn(2, 4)).square().mean())


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU, mixed precision is float16 on it')
def test_amp_is_refused_where_it_would_be_slower(monkeypatch):
    monkeypatch.setattr(cpu_amp, 'bfloat16_slowdown', lambda: 151.4)
    with pytest.raises(ConfigError, match=r'--amp: .* 151.4 times slower .*\n.*AMX.*\n.*leave out --amp'):
        cpu_amp.use_amp(Config(dict(optim_wrapper=dict(type='OptimWrapper'))))


def test_the_measurement_agrees_with_what_the_cpu_has(fresh):
    code = 'from mmtrtvit.engine.cpu_amp import bfloat16_slowdown; print(bfloat16_slowdown())'
    # in a process of its own, as oneDNN reads its limits once
    found = fresh(code, ONEDNN_MAX_CPU_ISA='AVX2', ATEN_CPU_CAPABILITY='avx2').stdout
    assert float(found.split()[-1]) > 1
    capabilities = getattr(torch.cpu, 'get_capabilities', dict)()
    if capabilities.get('avx512_bf16') and not any(name.endswith('_MAX_CPU_ISA') for name in os.environ):
        assert MEASURED() < 1


def test_the_context_ends_when_the_forward_pass_fails(network):
    with pytest.raises(ValueError, match='lost'), wrapper_of(network).optim_context(network):
        raise ValueError('lost')
    assert not torch.is_autocast_enabled('cpu')


def test_weights_gradients_and_state_stay_float32(network):
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    wrapper = CPUAmpOptimWrapper(optimizer=optimiser)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with wrapper.optim_context(network):
        loss = network(torch.randn(8, 4)).square().mean()
    gradients = []
    for parameter in network.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: gradients.append(p.grad.dtype))
    wrapper.update_params(loss)
    assert gradients and set(gradients) == {torch.float32}
    for parameter, old in zip(network.parameters(), before, strict=True):
        assert parameter.dtype == torch.float32 and not torch.equal(parameter, old)
        assert {value.dtype for value in optimiser.state[parameter].values()} == {torch.float32}


def test_gradients_are_accumulated_as_by_the_base_class(network):
    wrapper = wrapper_of(network, accumulative_counts=2)
    wrapper.initialize_count_status(network, 0, 4)
    before = network[0].weight.detach().clone()
    moved = []
    for _ in range(4):
        with wrapper.optim_context(network):
            loss = network(torch.ones(2, 4)).square().mean()
        wrapper.update_params(loss)
        moved.append(not torch.equal(network[0].weight, before))
        before = network[0].weight.detach().clone()
    assert moved == [False, True, False, True]


def test_gradients_are_not_exchanged_until_the_last_of_an_accumulation(network):
    entered = []

    @contextlib.contextmanager
    def no_sync():
        entered.append(True)
        yield

    network.no_sync = no_sync  # as DistributedDataParallel has it
    wrapper = wrapper_of(network, accumulative_counts=2)
    wrapper.initialize_count_status(network, 0, 4)
    counts = []
    for _ in range(4):
        with wrapper.optim_context(network):
            loss = network(torch.ones(2, 4)).square().mean()
        wrapper.update_params(loss)
        counts.append(len(entered))
    assert counts == [1, 1, 2, 2]


def test_clipping_sees_the_true_gradients(network):
    wrapper = wrapper_of(network, clip_grad=dict(max_norm=1e-3))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with wrapper.optim_context(network):
        loss = network(torch.randn(8, 4)).square().mean() * 1e3
    wrapper.update_params(loss)
    step = torch.cat([(p - old).flatten() for p, old in zip(network.parameters(), before, strict=True)]).norm()
    assert step.item() == pytest.approx(0.1 * 1e-3, rel=1e-2)


@pytest.mark.parametrize('with_cp', [False, True])
def test_a_backbone_learns_in_it(with_cp):
    torch.manual_seed(0)
    backbone = TRTViT(arch=TINY, head_dim=16, with_cp=with_cp)
    backbone.init_weights()
    x, target = torch.randn(4, 3, 48, 48), torch.rand(4, 32, 2, 2)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='mmtrtvit.CPUAmpOptimWrapper', optimizer=torch.optim.AdamW(backbone.parameters(), lr=3e-3))
    )
    losses = []
    for _ in range(15):
        with wrapper.optim_context(backbone):
            loss = (backbone.train()(x)[-1].float() - target).square().mean()
        wrapper.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses
    assert all(torch.isfinite(parameter).all() for parameter in backbone.parameters())


class Extractor(Watcher):
    """What mmdet's RoI extractors look like from outside."""

    roi_layers = ()

    def forward(self, features, rois):
        self.dtypes = [*(feature.dtype for feature in features), rois.dtype]
        return features[0]


class Head(nn.Linear):
    """What heads of mmdet and mmseg look like from outside: several outputs in lists and tuples."""

    def forward(self, x):
        y = super().forward(x)
        return (y, [y, dict(y=y)], y > 0)

    def loss_by_feat(self):
        raise AssertionError('only its presence counts')


def test_predictions_and_regions_are_float32(network):
    extractor, head = Extractor(), Head(8, 3)
    model = nn.ModuleDict(dict(network=network, extractor=extractor, head=head))
    x = torch.randn(2, 4)
    rois = torch.tensor([[0, 1333.25, 0, 1333.5, 1]])
    with wrapper_of(model).optim_context(model):
        features = network[0](x)
        extractor([features, features], rois)
        y, (listed, named), mask = head(features)
        assert head.forward(features)[0].dtype == torch.float32  # as mmseg calls its heads
    assert features.dtype == torch.bfloat16
    assert set(extractor.dtypes) == {torch.float32}
    assert y.dtype == listed.dtype == named['y'].dtype == torch.float32 and mask.dtype == torch.bool
    # Afterwards the network is as it was.
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert head(features)[0].dtype == torch.bfloat16
        extractor([features], features)
    assert set(extractor.dtypes) == {torch.bfloat16}


def test_a_detector_trains_in_it(root):
    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    config = Config.fromfile(root / 'configs' / 'maskrcnn_trtvit_a_toy.py').model
    config.backbone.update(arch=TINY, head_dim=16)
    config.neck.in_channels = list(TINY['widths'])
    detector = MODELS.build(dict(config, _scope_='mmdet'))
    detector.init_weights()
    seen = {}

    def watch(name):
        return lambda _, __, outputs: seen.setdefault(name, outputs)

    detector.backbone.register_forward_hook(watch('backbone'))
    wrapper = wrapper_of(detector)
    before = detector.roi_head.mask_head.conv_logits.weight.detach().clone()
    losses = detector.train_step(demo_mm_inputs(2, [[3, 64, 64], [3, 48, 64]], num_classes=6, with_mask=True), wrapper)
    assert seen['backbone'][-1].dtype == torch.bfloat16
    assert set(losses) >= {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask'}
    for name, value in losses.items():
        assert value.dtype == torch.float32 and value.isfinite(), name
    assert not torch.equal(detector.roi_head.mask_head.conv_logits.weight, before)
