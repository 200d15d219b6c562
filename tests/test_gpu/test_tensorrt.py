"""TensorRT and TensorRT for RTX on a GPU: build, parity, order and mAP. ``make gpu`` runs them and times engines."""

import copy
import dataclasses
import json

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from mmtrtvit.deploy import load
from mmtrtvit.deploy.engines.tensorrt_builder import build_engine
from mmtrtvit.deploy.engines.tensorrt_report import to_markdown
from mmtrtvit.environment import is_there
from mmtrtvit.errors import DeployError
from mmtrtvit.models import TRTViT
from mmtrtvit.runtime.backends.tensorrt.session import TensorRTSession
from mmtrtvit.runtime.backends.tensorrt.support import PACKAGES, installed_version, refuse_combination

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

SIZES = ((1, 3, 64, 64), (1, 3, 224, 224), (4, 3, 320, 480))


USES = {'fp32': 'float32 graph', 'fp16': 'typed graph', 'int8': 'typed graph'}
"""What a precision asks of a package."""

COUNTS = {
    'maskrcnn': ('same', 'detections'),
    'retinanet': ('same', 'detections'),
    'semfpn': ('same', 'pixels'),
}
"""What a proof calls the number of equal results, and that of all."""


def skip_unless_usable(package, uses=''):
    version = installed_version(package)
    if version is None:
        pytest.skip(f'{PACKAGES[package].title} is not installed ({PACKAGES[package].install})')
    try:
        refuse_combination(package, version, torch.cuda.get_device_capability(), uses)
    except DeployError as error:
        pytest.skip(str(error).splitlines()[0])
    return package


def _param(package):
    """Skipped by a mark, before the fixtures of networks, which a machine without OpenMMLab cannot make, are made."""
    absent = installed_version(package) is None
    return pytest.param(package, marks=pytest.mark.skipif(absent, reason=f'{package} is not installed'))


@pytest.fixture(scope='module', params=[_param(package) for package in PACKAGES])
def package(request):
    return skip_unless_usable(request.param)


needs_detectors = pytest.mark.skipif(
    not all(map(is_there, ('mmdet', 'mmseg', 'mmdeploy'))),
    reason='mmdet, mmseg or mmdeploy is not installed',
)


@dataclasses.dataclass
class Built:
    """An engine, its graph, and the network that it was made of."""

    graph: object
    path: object
    report: object
    network: torch.nn.Module
    package: str
    precision: str

    def session(self, **settings):
        return TensorRTSession(self.path, self.package, **settings)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    network = TRTViT(arch='a', out_indices=(0, 1, 2, 3))
    with torch.no_grad():  # statistics of noise, so that activations have a spread at every depth
        network.train()
        network(torch.randn(2, 3, 128, 128))
    network.eval().switch_to_deploy()
    return network


@pytest.fixture(scope='module', params=['fp32', 'fp16'])
def built(request, package, network, tmp_path_factory):
    """TRT-ViT-A with batch, height and width free."""
    skip_unless_usable(package, USES[request.param])
    folder = tmp_path_factory.mktemp(f'{package}_{request.param}')
    graph, names = folder / 'backbone.onnx', [f'c{stage}' for stage in range(2, 6)]
    axes = {'input': {0: 'B', 2: 'H', 3: 'W'}, **{name: {0: 'B', 2: 'h', 3: 'w'} for name in names}}
    half = request.param == 'fp16'
    exported = copy.deepcopy(network).half() if half else network
    torch.onnx.export(
        exported,
        torch.zeros(1, 3, 64, 96, dtype=torch.half if half else torch.float),
        str(graph),
        opset_version=17,
        dynamo=False,
        input_names=['input'],
        output_names=names,
        dynamic_axes=axes,
    )
    report = build_engine(
        graph, folder / 'e.engine', package=package, profiles={'input': SIZES}, timing_cache=folder / 'timing.cache'
    )
    return Built(graph, folder / 'e.engine', report, network, package, request.param)


def test_build(built):
    assert built.path.stat().st_size == built.report.engine_bytes
    assert built.report.layers and built.report.activation_bytes
    assert 'ONNX nodes are named' in to_markdown(built.report)
    wanted = {'fp32': 'float32', 'fp16': 'float16'}[built.precision]
    # in an engine for free sizes, TensorRT may not tell the types of all layers; those of weights it does
    shares = built.report.share_of_layers().get(wanted, 0), built.report.share_of_weights().get(wanted, 0)
    assert max(shares) > 0.5, (built.report.share_of_layers(), built.report.share_of_weights())


@pytest.mark.parametrize('shape', [*SIZES, (3, 3, 96, 352)], ids=lambda shape: 'x'.join(map(str, shape)))
def test_parity_with_pytorch(built, shape):
    """FP32 without TF32: the last bits. FP16: its 11 bits of mantissa through some thirty layers."""
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = built.session()({'input': image})
    with torch.no_grad():
        wanted = built.network(torch.from_numpy(image))
    tolerance = {'fp32': 1e-3, 'fp16': 3e-2}[built.precision]
    for ours, theirs in zip(wanted, found.values(), strict=True):
        assert theirs.dtype == np.float32 and theirs.shape == tuple(ours.shape)
        assert np.abs(ours.numpy() - theirs).max() <= tolerance * ours.abs().max().item()


def test_tensors_on_the_gpu_and_another_stream(built):
    session, image = built.session(), torch.randn(SIZES[1], device='cuda')
    usual = session.run_tensors({'input': image})
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        other = session.run_tensors({'input': image})
    torch.cuda.synchronize()
    for name, tensor in usual.items():
        assert tensor.is_cuda
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-3)


def test_runs_are_in_order_with_the_current_stream(built):
    """The engine runs on a stream of its own: it waits for its input, and the next reader waits for it."""
    session, image = built.session(), torch.zeros(SIZES[1], device='cuda')
    noise = [torch.randn(SIZES[1], device='cuda') for _ in range(4)]

    def results(busy, wait):
        for values in noise:
            if busy is not None:
                for _ in range(20):
                    busy = busy @ busy
            image.copy_(values)
            wait()
            found = session.run_tensors({'input': image})['c5']
            wait()
            yield found.clone()

    expected = list(results(None, torch.cuda.synchronize))
    found = list(results(torch.eye(4096, device='cuda'), lambda: None))
    torch.cuda.synchronize()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_a_cuda_graph_replays_the_engine(built):
    session, image = built.session(), torch.randn(SIZES[1], device='cuda')
    session.run_tensors({'input': image})  # what changes with the shape is done outside of the graph
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = session.run_tensors({'input': image})
    image.normal_()
    graph.replay()
    for name, expected in session.run_tensors({'input': image}).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-3)


def test_order_of_outputs_is_by_name(built):
    session = built.session(output_names=['c5', 'c2'])
    assert list(session({'input': np.zeros(SIZES[0], np.float32)})) == ['c5', 'c2']


@pytest.mark.parametrize('shape', [(5, 3, 64, 64), (1, 3, 32, 64), (1, 3, 320, 512)])
def test_beyond_the_profile(built, shape):
    with pytest.raises(DeployError, match='from 1 x 3 x 64 x 64 to 4 x 3 x 320 x 480'):
        built.session()({'input': np.zeros(shape, np.float32)})


def test_a_truncated_engine(built, tmp_path):
    (tmp_path / 'e.engine').write_bytes(built.path.read_bytes()[:1000])
    with pytest.raises(DeployError, match='cannot load'):
        TensorRTSession(tmp_path / 'e.engine', built.package)


def test_an_output_whose_size_depends_on_the_data(tmp_path):
    """The output allocator. TensorRT only: TensorRT for RTX has no NonZero."""
    package = skip_unless_usable('tensorrt')
    graph = helper.make_graph(
        [helper.make_node('NonZero', ['x'], ['found'])],
        'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 4])],
        [helper.make_tensor_value_info('found', TensorProto.INT64, [2, 'data_found'])],
    )
    path = tmp_path / 'g.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    build_engine(path, tmp_path / 'e.engine', package=package, profiles={'x': ((1, 4), (4, 4), (64, 4))})
    session = TensorRTSession(tmp_path / 'e.engine', package)
    reference = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    for filled in (0, 1, 7, 200):
        x = np.zeros((64, 4), np.float32)
        x.flat[:filled] = 1
        np.testing.assert_array_equal(session({'x': x})['found'], reference.run(None, {'x': x})[0])
    given, memory = torch.ones(64, 4, device='cuda'), []
    for _ in range(20):
        session.run_tensors({'x': given})
        torch.cuda.synchronize()
        memory.append(torch.cuda.memory_allocated())
    assert memory[-1] == memory[1], 'a run keeps memory'


RANGE = ('--dynamic', '64x64', '128x160', '512x512')


def options_for(package, precision):
    return '--backend', PACKAGES[package].backend, '--precision', precision


@needs_detectors
@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
@pytest.mark.parametrize('method', ['maskrcnn', 'retinanet', 'semfpn'])
def test_a_network_from_the_command(package, precision, method, networks, deployed, tmp_path):
    """By ``tools/deploy.py``: the proof is of the engine, and has the metrics of PyTorch and of the engine."""
    skip_unless_usable(package, USES[precision])
    proof = deployed(networks[method], tmp_path, *options_for(package, precision), *RANGE)['proof']
    assert proof['subject'] == 'end2end.engine on the GPU'
    print(method, precision, json.dumps(proof['metrics'], indent=1))
    print(f'PyTorch / engine: {proof["latency_ratio"]:.3f}')
    assert proof['metrics'] and proof['latency_ratio'] > 0
    # a network that was hardly trained has ties everywhere: a lower precision may differ in some of them
    same, of = (proof['parity'][name] for name in COUNTS[method])
    assert same >= {'fp32': 0.99, 'fp16': 0.9, 'int8': 0.3}[precision] * of > 0


@needs_detectors
def test_a_fixed_size_and_two_images_at_once(package, networks, deployed, tmp_path):
    """Images of a batch have the results that each has alone, or next to another."""
    skip_unless_usable(package, USES['fp32'])
    network = networks['retinanet']
    report = deployed(
        network, tmp_path, *options_for(package, 'fp32'), '--shape', '128x160', '--batch', '2', '--no-latency'
    )
    assert report['artefact']['profiles']['input']['opt'] == [2, 3, 128, 160]
    assert report['proof']['subject'] == 'end2end.engine on the GPU'
    same, of = (report['proof']['parity'][name] for name in COUNTS['retinanet'])
    assert same >= 0.99 * of > 0
    run, images = load(tmp_path), [cv2.imread(str(path)) for path in network.images[:3]]
    for alone, together in zip(map(run, images), run(images), strict=True):
        assert len(alone.boxes) > 0
        np.testing.assert_array_equal(alone.labels, together.labels)
        np.testing.assert_allclose(alone.boxes, together.boxes, atol=1e-2)


@needs_detectors
@pytest.mark.parametrize('method', ['maskrcnn', 'semfpn'])
def test_evaluation_of_the_engine(package, method, networks, deployed, python, root, tmp_path):
    """``tools/test.py --backend-dir`` gives what the proof says of the same images."""
    skip_unless_usable(package, USES['fp32'])
    network, artefact = networks[method], tmp_path / 'artefact'
    report = deployed(network, artefact, *options_for(package, 'fp32'), *RANGE, '--no-latency')
    done = python(
        root / 'tools' / 'test.py', network.config, '--backend-dir', artefact, '--work-dir', tmp_path / 'tested'
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (log,) = (tmp_path / 'tested').rglob('2*.json')
    found = json.loads(log.read_text().splitlines()[-1])
    expected = {name: pair['artefact'] for name, pair in report['proof']['metrics'].items()}
    assert any(expected.values())
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-3, abs=1e-3)


WITHOUT_OPENMMLAB = """
import sys

BLOCKED = {'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmdeploy'}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Blocker())

from mmtrtvit.deploy import load

found = load(sys.argv[1])(sys.argv[2])
assert not BLOCKED & {name.partition('.')[0] for name in sys.modules}
assert found.boxes.shape[1] == 4 and len(found.boxes) == len(found.scores) == len(found.labels) == len(found.masks)
print(len(found.boxes), 'boxes')
"""


@needs_detectors
def test_the_engine_runs_without_openmmlab(package, networks, deployed, python, tmp_path):
    """The runtime on an artefact, in a process in which importing OpenMMLab fails: boxes of an image."""
    skip_unless_usable(package, USES['fp32'])
    network = networks['maskrcnn']
    deployed(network, tmp_path, *options_for(package, 'fp32'), *RANGE, '--no-latency')
    done = python('-c', WITHOUT_OPENMMLAB, tmp_path, network.images[0])
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= 1
