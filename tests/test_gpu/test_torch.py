"""Backbones and portable operators on a GPU with PyTorch alone: no TensorRT, no compiled operators of mmcv.

Each test runs on the CPU too, with networks of a few thousand parameters, so that it works on the day that a GPU is at
hand. The reference is float64 on the CPU.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from torch import nn

from mmtrtvit.deploy.export.portable import PyramidAtlas, roi_levels, suppress
from mmtrtvit.engine import CPUAmpOptimWrapper
from mmtrtvit.zoo.families import FAMILIES
from tests.fixtures.backbones import FAMILIES as TINY
from tests.fixtures.backbones import randomise, settle

GPU = [pytest.mark.gpu, pytest.mark.slow]

FLOAT32 = 1e-4
"""Largest difference from float64 over the largest value. TF32, of 10 bits, is beyond it."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, the device that it runs on, and the size of its images."""

    device: str
    make: Callable[[], nn.Module]
    size: tuple[int, int]

    def network(self) -> nn.Module:
        """The network on the CPU, in float32."""
        return settle(randomise(self.make()), self.size)

    def images(self, batch: int = 2) -> torch.Tensor:
        return torch.randn(batch, 3, *self.size, generator=torch.Generator().manual_seed(2))


def tiny(name: str) -> Case:
    backbone, settings = TINY[name]
    return Case('cpu', lambda: backbone(**settings), (64, 96))


def whole(family: str, arch: str) -> Case:
    return Case('cuda', lambda: FAMILIES[family].type(arch=arch), (224, 320))


ON_CPU = [pytest.param(tiny(name), id=f'cpu-{name}') for name in TINY]
SIZES = [(family, arch) for family, about in FAMILIES.items() for arch in about.archs]
SMALLEST = [(family, about.archs[0]) for family, about in FAMILIES.items()]


def on_gpu(networks):
    return [pytest.param(whole(*network), marks=GPU, id='cuda-' + '-'.join(network)) for network in networks]


@contextlib.contextmanager
def tf32(allowed):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.fixture(autouse=True)
def exact_float32():
    with tf32(False):
        yield


def run(network, images, device, dtype=torch.float32):
    """The maps of a network in a type on a device, as float64 on the CPU. The network is left as it was."""
    moved = copy.deepcopy(network).to(device, dtype)
    with torch.inference_mode():
        return [found.double().cpu() for found in moved(images.to(device, dtype))]


def largest_error(found, expected):
    """Largest difference of any map over the largest value of that map."""
    assert [one.shape for one in found] == [one.shape for one in expected]
    return max(
        ((one - other).abs().max() / other.abs().max()).item() for one, other in zip(found, expected, strict=True)
    )


def typical_error(found, expected):
    """Root mean square of the difference over that of the values, of the worst map."""
    return max(
        ((one - other).square().mean().sqrt() / other.square().mean().sqrt()).item()
        for one, other in zip(found, expected, strict=True)
    )


# --- backbones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('case', [*ON_CPU, *on_gpu(SIZES)])
def test_float32_is_that_of_float64(case, record_property):
    network, images = case.network(), case.images()
    expected = run(network, images, 'cpu', torch.float64)
    error = largest_error(run(network, images, case.device), expected)
    record_property('largest error', error)
    print(f'float32: {error:.1e}')
    assert error < FLOAT32


@pytest.mark.parametrize('case', [*ON_CPU, *on_gpu(SMALLEST)])
def test_channels_last_gives_the_same_in_plain_layout(case):
    """mmcv's operators read memory as NCHW."""
    network, images = case.network(), case.images()
    expected = run(network, images, 'cpu', torch.float64)
    moved = network.to(case.device, memory_format=torch.channels_last)
    with torch.inference_mode():
        found = moved(images.to(case.device).contiguous(memory_format=torch.channels_last))
    assert all(one.is_contiguous() for one in found)
    assert largest_error([one.double().cpu() for one in found], expected) < FLOAT32


@pytest.mark.parametrize('case', [*ON_CPU, *on_gpu(SIZES)])
@pytest.mark.parametrize('dtype, limit', [(torch.float32, FLOAT32), (torch.float64, 1e-9)], ids=['fp32', 'fp64'])
def test_the_deploy_form_is_the_same_function(case, dtype, limit):
    network, images = case.network(), case.images()
    expected = run(network, images, case.device, dtype)
    network = network.to(case.device, dtype)
    network.switch_to_deploy()
    assert largest_error(run(network, images, case.device, dtype), expected) < limit


def emulated(network, images, precision, folder):
    """The maps in a precision, as the emulation predicts them from the exported graph."""
    import onnx

    from mmtrtvit.benchmark import export_backbone
    from mmtrtvit.deploy.precision import to_bf16, to_fp16
    from mmtrtvit.deploy.precision.emulation import run_graph

    export_backbone(network, images, folder / 'network.onnx')
    graph = onnx.load(folder / 'network.onnx')
    half = {'fp16': to_fp16, 'bf16': to_bf16}[precision](graph)
    (found,) = run_graph(half, [{graph.graph.input[0].name: images.numpy()}])
    return [torch.from_numpy(one).double() for one in found.values()]


@pytest.mark.parametrize('case', [*ON_CPU, *on_gpu(dict.fromkeys([*SIZES[:4], *SMALLEST]))])
@pytest.mark.parametrize('precision, dtype', [('fp16', torch.float16), ('bf16', torch.bfloat16)])
def test_half_precision_errs_as_the_emulation_says(case, precision, dtype, tmp_path, record_property):
    """Proofs of engines that no machine here can run rest on it."""
    network, images = case.network(), case.images(1)
    network.switch_to_deploy()
    expected = run(network, images, 'cpu', torch.float64)
    error = typical_error(run(network, images, case.device, dtype), expected)
    predicted = typical_error(emulated(network, images, precision, tmp_path), expected)
    record_property('error', error)
    record_property('emulated error', predicted)
    print(f'{precision}: {error:.2e}, emulated {predicted:.2e}')
    assert predicted / 3 < error < predicted * 3


@pytest.mark.parametrize('case', [*ON_CPU, *on_gpu(SMALLEST)])
def test_mixed_precision_trains(case):
    """Float16 with a scaled loss on a GPU, bfloat16 on a CPU that has it."""
    network, images = case.network().to(case.device).train(), case.images(4).to(case.device)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}

    def loss():
        return sum(found.float().square().mean() for found in network(images))

    with torch.no_grad():
        exact = loss().item()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    if case.device == 'cuda':
        wrapper = AmpOptimWrapper(loss_scale=512.0, optimizer=optimizer)
    else:
        wrapper = CPUAmpOptimWrapper(optimizer=optimizer)
    losses = []
    for _ in range(4):
        with wrapper.optim_context(network):
            value = loss()
        wrapper.update_params(value)
        losses.append(value.item())
    assert losses[0] == pytest.approx(exact, rel=0.05)
    assert losses[-1] < losses[0]
    for name, value in network.named_parameters():
        assert value.isfinite().all() and (value.grad is None or value.grad.isfinite().all()), name
        assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize('case', [*ON_CPU, *on_gpu(SMALLEST)])
def test_recomputed_activations_give_the_same_gradients(case):
    network, images = case.network().to(case.device).train(), case.images().to(case.device)
    gradients = []
    for network.with_cp in (False, True):
        network.zero_grad()
        sum(found.square().mean() for found in network(images)).backward()
        gradients.append([value.grad.double() for value in network.parameters()])
    scale = max(gradient.abs().max() for gradient in gradients[0])
    for one, other in zip(*gradients, strict=True):
        # kernels of the backward pass may add in any order
        assert (one - other).abs().max() < 1e-4 * scale


@pytest.mark.gpu
@pytest.mark.slow
def test_tf32_is_what_the_switch_says():
    """So a figure in fp32 is not one in TF32, and the other way round."""
    case = whole('trtvit', 'a')
    network, images = case.network(), case.images()
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip('this GPU has no TF32')
    expected = run(network, images, 'cpu', torch.float64)
    exact = typical_error(run(network, images, 'cuda'), expected)
    with tf32(True):
        assert typical_error(run(network, images, 'cuda'), expected) > 10 * exact


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize('network', SMALLEST, ids='-'.join)
def test_a_cuda_graph_replays_a_backbone(network):
    case = whole(*network)
    backbone, image = case.network().cuda(), case.images(1).cuda()
    backbone.switch_to_deploy()
    with torch.inference_mode():
        for _ in range(3):  # what is allocated or chosen in the first run must not be in the graph
            backbone(image)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = backbone(image)
        image.copy_(case.images(1).flip(3))
        graph.replay()
        expected = backbone(image)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# --- portable operators -----------------------------------------------------------------------------------------------

STRIDES = (4, 8, 16, 32)

DETECTOR = [
    pytest.param('cpu', (160, 224), 150, 4, id='cpu-160x224'),
    pytest.param('cpu', (800, 1344), 300, 1, id='cpu-800x1344'),
    pytest.param('cuda', (800, 1344), 1000, 256, marks=GPU, id='cuda-800x1344'),
]
"""Device, size of the image, number of boxes, and channels of the maps."""


def boxes_of(size, count, spread=1.2):
    """``(count, 4)``: boxes of 3 to 900 pixels, some of them partly or wholly outside."""
    generator = torch.Generator().manual_seed(3)
    centre = (torch.rand(count, 2, generator=generator) - 0.5) * spread + 0.5
    side = torch.exp(1 + torch.rand(count, 2, generator=generator) * 5.8)
    centre = centre * torch.tensor([size[1], size[0]])
    return torch.cat([centre - side / 2, centre + side / 2], dim=-1)


def greedy(boxes, classes, threshold):
    """Suppression box by box, in float64. Fails for boxes so close to the threshold that float32 cannot tell."""
    boxes = boxes.double()
    sides = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - torch.maximum(
        boxes[:, None, :2], boxes[None, :, :2]
    )
    shared, area = sides.clamp(min=0).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    overlap = shared / (area[:, None] + area[None] - shared)
    assert (overlap - threshold).abs().min() > 1e-6, 'choose another seed'
    over = (overlap > threshold) & (classes[:, None] == classes[None])
    keep = torch.zeros(len(boxes), dtype=torch.bool)
    for place in range(len(boxes)):
        keep[place] = not over[:place, place][keep[:place]].any()
    return keep


def torchvision_ops():
    torchvision = pytest.importorskip('torchvision', reason='torchvision is not installed', exc_type=ImportError)
    if not torchvision.extension._has_ops():
        pytest.skip('the operators of torchvision do not fit this torch')
    return torchvision.ops


@pytest.mark.parametrize('device, size, count, _', DETECTOR)
@pytest.mark.parametrize('threshold', [0.5, 0.7])
def test_suppression(device, size, count, _, threshold):
    boxes = boxes_of(size, count, spread=0.5)
    classes = torch.randint(0, 3, (count,), generator=torch.Generator().manual_seed(4))
    expected = greedy(boxes, classes, threshold)
    assert 0.1 * count < expected.sum() < count
    valid = torch.ones(count, dtype=torch.bool)
    found = suppress(boxes.to(device), valid.to(device), threshold, classes.to(device))
    assert found.certain.all() and torch.equal(found.keep.cpu(), expected)


@pytest.mark.parametrize('device, size, count, _', DETECTOR)
def test_suppression_is_that_of_torchvision(device, size, count, _):
    nms = torchvision_ops().nms
    boxes, scores = boxes_of(size, count, spread=0.5).to(device), torch.linspace(1, 0.1, count, device=device)
    found = suppress(boxes, torch.ones(count, dtype=torch.bool, device=device), 0.5)
    assert torch.equal(torch.where(found.keep)[0], nms(boxes, scores, 0.5).sort().values)


def pyramid(size, channels):
    """Maps around 3, so that a wrong zero shows."""
    generator = torch.Generator().manual_seed(5)
    return [
        3 + torch.randn(1, channels, -(-size[0] // stride), -(-size[1] // stride), generator=generator)
        for stride in STRIDES
    ]


def pooled(feature, boxes, stride, bins=7, samples=2):
    """RoIAlign by its definition, in float64: ``(N, C, bins, bins)`` of one map ``(C, H, W)``."""
    feature, boxes = feature.double(), boxes.double() / stride - 0.5
    steps = (torch.arange(bins * samples, dtype=torch.float64, device=boxes.device) + 0.5) / (bins * samples)

    def axis(low, high, length):
        """Two neighbours of each sample with their weights, 0 for a sample outside."""
        position = low[:, None] + (high - low)[:, None] * steps
        inside = (position >= -1) & (position <= length)
        position = position.clamp(0, length - 1)
        first = position.floor().clamp(max=max(length - 2, 0))
        weight = position - first
        indices = first.long(), (first.long() + 1).clamp(max=length - 1)
        return [(indices[0], (1 - weight) * inside), (indices[1], weight * inside)]

    total = 0
    for row, row_weight in axis(boxes[:, 1], boxes[:, 3], feature.shape[1]):
        for column, column_weight in axis(boxes[:, 0], boxes[:, 2], feature.shape[2]):
            values = feature[:, row[:, :, None], column[:, None, :]]  # C x N x rows x columns
            total = total + values * row_weight[None, :, :, None] * column_weight[None, :, None, :]
    return nn.functional.avg_pool2d(total.transpose(0, 1), samples)


@pytest.mark.parametrize('device, size, count, channels', DETECTOR)
@pytest.mark.parametrize('by', ['definition', 'torchvision'])
def test_roi_align(device, size, count, channels, by):
    features = [level.to(device) for level in pyramid(size, channels)]
    boxes = boxes_of(size, count).to(device)
    level = roi_levels(boxes, len(STRIDES), 56)
    assert level.unique().tolist() == [0, 1, 2, 3]
    found = PyramidAtlas(features).roi_align(boxes[None], level[None], STRIDES, (7, 7))[0]
    for index, (feature, stride) in enumerate(zip(features, STRIDES, strict=True)):
        chosen = boxes[level == index]
        if by == 'torchvision':
            align = torchvision_ops().roi_align
            expected = align(feature, [chosen], 7, 1 / stride, sampling_ratio=2, aligned=True)
        else:
            expected = pooled(feature[0], chosen, stride)
        # a position among 1344 pixels is known to 1e-4 of one in float32
        torch.testing.assert_close(found[level == index], expected.float(), atol=1e-3, rtol=0)
