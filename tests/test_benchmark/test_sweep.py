"""Measuring candidates in turn, on tiny networks: one row each, whatever becomes of the others."""

import contextlib
import json
import sys
import types

import cv2
import numpy as np
import onnx
import pytest
import torch

from mmtrtvit import machine as host
from mmtrtvit.benchmark import limit, sources, speed, suite
from mmtrtvit.benchmark.candidates import (
    Candidate,
    Loaded,
    Workshop,
    end_to_end_candidate,
    engine_call,
    pytorch_candidate,
    session_candidate,
)
from mmtrtvit.benchmark.growth import growth_groups
from mmtrtvit.benchmark.limit import limit_candidate
from mmtrtvit.benchmark.sources import export_backbone, onnx_file, our_backbones
from mmtrtvit.benchmark.speed import benchmark_backbone, benchmark_onnx, measure_sources, parse_shape
from mmtrtvit.benchmark.sweep import Sweep
from mmtrtvit.errors import ConfigError, DataError, DeployError
from mmtrtvit.latency import Milliseconds
from mmtrtvit.measurement import read_measurements, schema
from mmtrtvit.models import TRTViT
from mmtrtvit.runtime import Predictor, load
from mmtrtvit.runtime.backends import BACKENDS

TINY = dict(
    widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'), provenance='own choice: for a test'
)
QUICK = dict(threads=1, device='cpu', warmup_runs=1, warmup_seconds=0.0, min_runs=3, min_seconds=0.0, max_seconds=1.0)
QUIET = dict(load_average=0.1, others=[], frequency_mhz=None, gpu=None)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """A quiet machine whose limit is quickly measured, with a tiny size of TRT-ViT."""
    monkeypatch.setattr(host, 'conditions', lambda: QUIET)
    monkeypatch.setitem(limit.SIDE, 'cpu', 64)
    monkeypatch.setitem(TRTViT.arch_settings, 'tiny', TINY)


def by_hand(name, run, **facts):
    """A candidate that runs a function."""
    given = dict(name=name, scope='backbone', backend='pytorch', mode='eager', precision='fp32', device='cpu')
    return Candidate({**given, 'shape': [2, 3, 8, 8], **facts}, lambda workshop: Loaded(run, dict(params=1, macs=1000)))


def fail():
    raise RuntimeError('out of memory\nand a long trace')


def of(rows, scope):
    return [row for row in rows if row['scope'] == scope]


def test_backbones_in_every_backend(tmp_path):
    modes, precisions = ['eager', 'channels_last'], ['fp32', 'int8']
    rows = benchmark_backbone(
        ['trtvit'], ['tiny'], out=tmp_path, shapes=['33'], batches=[2], modes=modes, precisions=precisions, **QUICK
    )
    assert read_measurements(tmp_path / 'rows.jsonl') == rows
    found = [(row['backend'], row['mode'], row['precision']) for row in of(rows, 'backbone')]
    assert sorted(found) == [
        ('onnxruntime', 'plain', 'fp32'),
        ('onnxruntime', 'plain', 'int8'),
        ('openvino', 'plain', 'fp32'),
        ('openvino', 'plain', 'int8'),
        ('pytorch', 'channels_last', 'fp32'),
        ('pytorch', 'eager', 'fp32'),
    ]
    assert {(row['backend'], row['precision']) for row in of(rows, 'gemm')} == {
        (backend, precision) for backend, _, precision in found
    }
    assert len({row['run'] for row in rows}) == 1 and all(row['status'] == 'OK' for row in rows), rows
    rates = {}
    for row in of(rows, 'gemm'):
        rates.setdefault(row['precision'], {})[f'MatMul 64, {row["backend"]}'] = row['macs'] / row['p50_ms'] * 1e3
    for row in of(rows, 'backbone'):
        assert row['name'] == 'TRT-ViT-TINY' and row['shape'] == [2, 3, 33, 33] and row['batch'] == 2
        assert row['threads'] == row['machine']['torch_threads'] == 1 and row['peak_memory_bytes'] > 0
        assert row['limit']['macs_per_second'] == pytest.approx(max(rates[row['precision']].values()))
        assert rates[row['precision']][row['limit']['of']] == row['limit']['macs_per_second']
        rate = row['macs'] / row['p50_ms'] * 1e3
        assert row['limit']['share'] == pytest.approx(rate / row['limit']['macs_per_second'])
        assert {'torch', 'mmtrtvit'} <= row['versions'].keys()
    validator = pytest.importorskip('jsonschema').Draft202012Validator(schema())
    for row in rows:
        validator.validate(row)


def test_the_graphs_differ_as_their_precisions_say(tmp_path, monkeypatch):
    """What is measured as INT8 is quantised; a float32 graph under that name would be a wrong row."""
    opened = []
    real = speed.BACKENDS['onnxruntime'].open_session
    monkeypatch.setattr(
        type(BACKENDS['onnxruntime']),
        'open_session',
        lambda self, path, **options: (
            opened.append({node.op_type for node in onnx.load(path).graph.node}) or real(path, **{**options})
        ),
    )
    settings = dict(backends=['onnxruntime'], shapes=['33'], **QUICK)
    benchmark_backbone(['trtvit'], ['tiny'], out=tmp_path, precisions=['fp32', 'int8'], **settings)
    assert [('QuantizeLinear' in operators) for operators in opened] == [False, True, False, True]


def test_a_failure_is_a_row_and_the_others_go_on(tmp_path):
    later = iter(range(100))

    def fail_later():
        if next(later) > 3:
            fail()

    rows = Sweep(tmp_path / 'x.jsonl', **QUICK)(
        [[by_hand('a', fail), by_hand('b', fail_later), by_hand('c', lambda: None), by_hand('c', lambda: None)]]
    )
    assert [(row['name'], row['status']) for row in of(rows, 'backbone')][:2] == [('a', 'FAILED'), ('b', 'FAILED')]
    assert [row['status'] for row in of(rows, 'backbone')][2:] == ['OK', 'OK']
    assert rows[0]['reason'] == 'RuntimeError: out of memory'
    assert {row['reason'] for row in rows[1:]} == {None, 'RuntimeError: out of memory'}
    assert read_measurements(tmp_path / 'x.jsonl') == rows


def test_an_interrupt_keeps_the_rows(tmp_path):
    runs = iter(range(100))

    def interrupted():
        if next(runs) == 9:
            raise KeyboardInterrupt

    options = {**QUICK, 'min_runs': 1000}
    with pytest.raises(KeyboardInterrupt):
        Sweep(tmp_path / 'x.jsonl', **options)([[by_hand('a', lambda: None), by_hand('b', interrupted)]])
    rows = read_measurements(tmp_path / 'x.jsonl')
    assert [row['name'] for row in rows] == ['MatMul 64', 'a', 'b']
    assert all(row['status'] == 'OK' and not row['steady'] for row in rows)


def test_a_busy_machine_is_refused_before_anything_is_built(tmp_path, monkeypatch):
    others = [dict(name='train', share=0.9)]
    monkeypatch.setattr(host, 'conditions', lambda: {**QUIET, 'others': others})
    with pytest.raises(ConfigError, match='(?s)train 90%.*--busy-ok'):
        benchmark_backbone(['trtvit'], ['tiny'], out=tmp_path / 'out', **QUICK)
    assert not (tmp_path / 'out').exists()
    rows = Sweep(tmp_path / 'x.jsonl', busy_ok=True, **QUICK)([[by_hand('a', lambda: None)]])
    assert 'train' in rows[0]['conditions']['busy']


def test_groups_have_runs_of_their_own(tmp_path):
    rows = Sweep(tmp_path / 'x.jsonl', **QUICK)([[by_hand('a', lambda: None)], [by_hand('b', lambda: None)]])
    assert [row['name'] for row in rows] == ['MatMul 64', 'a', 'MatMul 64', 'b']
    assert rows[0]['run'] == rows[1]['run'] != rows[2]['run'] == rows[3]['run']


def test_threads_are_as_before(tmp_path):
    before = torch.get_num_threads()
    seen = []
    options = {**QUICK, 'threads': before + 1}
    Sweep(tmp_path / 'x.jsonl', **options)([[by_hand('a', lambda: seen.append(torch.get_num_threads()))]])
    assert set(seen) == {before + 1} and torch.get_num_threads() == before


def test_tf32_is_off_in_fp32_whatever_the_process_has(tmp_path):
    """And set as before afterwards: on a GPU it decides which kernels run."""
    matmul, before, seen = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32, []

    class Network(torch.nn.Module):
        def forward(self, image):
            seen.append(matmul.allow_tf32)
            return image

    source = sources.Source(dict(name='x', scope='backbone'), Network)
    matmul.allow_tf32 = True
    try:
        measure_sources([source], tmp_path, shapes=['8'], backends=['pytorch'], **QUICK)
        assert seen[0] and seen[1:] and not any(seen[1:]) and matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before


def test_onnx_files(tmp_path):
    path = tmp_path / 'product.onnx'
    limit.write_product(path, 64)
    with pytest.raises(DataError, match='There is no file'):
        benchmark_onnx([str(tmp_path / 'none.onnx')], tmp_path, backends=['onnxruntime'], **QUICK)
    tiny = TRTViT(arch=TINY).eval()
    tiny.switch_to_deploy()
    export_backbone(tiny, torch.rand(1, 3, 32, 32), tmp_path / 'tiny.onnx')
    rows = benchmark_onnx(
        [str(tmp_path / 'tiny.onnx')], tmp_path, shapes=['32', '40'], backends=['onnxruntime'], **QUICK
    )
    first, second = (row for row in rows if row['scope'] == 'network')
    assert (first['status'], first['name'], first['source'], first['limit']) == ('OK', 'tiny', 'tiny.onnx', None)
    assert second['status'] == 'FAILED' and second['shape'] == [1, 3, 40, 40]  # the file has a fixed size


def test_two_onnx_files_of_one_name_are_two_networks(tmp_path):
    workshop, graphs = Workshop(tmp_path / 'workshop', 1, 'cpu'), []
    (tmp_path / 'workshop').mkdir()
    for folder, side in (('a', 8), ('b', 16)):
        path = tmp_path / folder / 'end2end.onnx'
        path.parent.mkdir()
        limit.write_product(path, side)
        path, *_ = session_candidate(onnx_file(path), (1, 3, 4, 4), 'onnxruntime', 'fp32', 'cpu').prepare(workshop)
        graphs.append(onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value)
    assert graphs == [8, 16]


def test_the_limit_is_the_product_that_it_says(tmp_path):
    side = 64
    image = np.random.default_rng(1).standard_normal((side, side), np.float32)
    outputs = {}
    for quantised in (False, True):
        path = tmp_path / f'{quantised}.onnx'
        limit.write_product(path, side, quantised)
        (outputs[quantised],) = BACKENDS['onnxruntime'].open_session(path).run({'image': image}).values()
    weights = np.random.default_rng(0).standard_normal((side, side), np.float32)
    np.testing.assert_allclose(outputs[False], image @ weights, atol=1e-4)
    np.testing.assert_allclose(outputs[True], image @ weights, atol=1)
    assert np.abs(outputs[True]).max() > 20 and (outputs[True] != outputs[False]).all()
    assert limit_candidate('tensorrt', 'fp16', 'cuda').facts['backend'] == 'pytorch'


def test_an_artefact_by_itself_and_as_users_run_it(plain_segmentor, tmp_path):
    folder, picture = plain_segmentor('onnxruntime', layers=2), tmp_path / 'picture.png'
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8))
    (engine,) = speed.benchmark_engine([folder], tmp_path, image=picture, **QUICK)[1:]
    (whole,) = speed.benchmark_end_to_end([folder], tmp_path, image=picture, **QUICK)[1:]
    for row, scope in ((engine, 'engine'), (whole, 'end-to-end')):
        assert (row['status'], row['scope'], row['source']) == ('OK', scope, folder.name)
    assert engine['shape'][1:] == load(folder).manifest['inputs']['input']['shape'][1:] and engine['batch'] == 1
    assert whole['image'] == [37, 51] and engine['parts_ms'] is None
    parts = whole['parts_ms']
    assert list(parts) == ['decoding', 'preprocessing', 'network', 'postprocessing'] and min(parts.values()) > 0
    assert parts['preprocessing'] + parts['network'] + parts['postprocessing'] < 2 * whole['p90_ms']
    with pytest.raises(DeployError):
        speed.benchmark_engine([tmp_path / 'none'], tmp_path, **QUICK)
    (wrong, _) = speed.benchmark_engine([folder], tmp_path, shapes=['7'], **QUICK)
    assert wrong['status'] == 'FAILED' and '7' in wrong['reason']
    validator = pytest.importorskip('jsonschema').Draft202012Validator(schema())
    for row in read_measurements(tmp_path / 'rows.jsonl'):
        validator.validate(row)


def test_the_artefact_is_not_changed_by_being_timed(plain_segmentor):
    """Its results are those of ``load(folder)(image)``: the parts are timed, not replaced."""
    folder = plain_segmentor('onnxruntime')
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    called = []
    with pytest.MonkeyPatch.context() as patch:
        real = Predictor.__call__
        patch.setattr(Predictor, '__call__', lambda self, *args: called.append(real(self, *args)) or called[-1])
        loaded = end_to_end_candidate(folder, image, 'cpu').load(Workshop(folder, 1, 'cpu'))
        loaded.run()
    np.testing.assert_array_equal(called[0].labels, load(folder)(image).labels)


@pytest.mark.slow
def test_a_network_of_a_config(toy_seg, tmp_path):
    (row,) = speed.benchmark_network([toy_seg.config], tmp_path, shapes=['64'], **QUICK)[1:]
    assert (row['status'], row['scope'], row['backend'], row['shape']) == ('OK', 'network', 'pytorch', [1, 3, 64, 64])
    assert row['macs'] > 0 and row['limit']['share'] > 0


class FakeEngine:
    """A session that takes tensors, as TensorRT's does; its GPU is the CPU."""

    def __init__(self, counted):
        self.counted = counted

    def run_tensors(self, feeds):
        self.counted.runs += 1
        return {'out': feeds['input'] * 2}


@pytest.fixture
def gpu(monkeypatch):
    """Events by which each run takes 2.5 ms on a GPU, and graphs. ``runs`` and ``replays`` are counted."""
    counted = types.SimpleNamespace(runs=0, replays=0)

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = counted.runs + counted.replays

        def synchronize(self):
            pass

        def elapsed_time(self, other):
            return 2.5 * (other.at - self.at)

    class Graph:
        def replay(self):
            counted.replays += 1

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'CUDAGraph', Graph)
    monkeypatch.setattr(torch.cuda, 'graph', lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda tensor: tensor)
    monkeypatch.setattr(torch.Tensor, 'cuda', lambda tensor: tensor.clone())
    return counted


@pytest.mark.parametrize('mode', ['eager', 'channels_last', 'graph', 'graph+channels_last'])
def test_pytorch_on_a_gpu_is_timed_by_events(gpu, mode):
    channels_last = []

    class Network(torch.nn.Module):
        def forward(self, image):
            channels_last.append(image.is_contiguous(memory_format=torch.channels_last))
            gpu.runs += 1
            return image

    # a device without memory stands in for the GPU
    source = sources.Source(dict(name='x', scope='backbone'), Network)
    loaded = pytorch_candidate(source, (1, 3, 8, 8), mode, 'fp16', 'meta').load(None)
    gpu.runs, gpu.replays = 0, 0
    assert loaded.run() == 2.5 and isinstance(loaded.run(), Milliseconds)
    assert (gpu.runs, gpu.replays) == ((0, 2) if 'graph' in mode else (2, 0))
    assert any(channels_last) == ('channels_last' in mode)


def test_a_graph_needs_a_gpu():
    source = sources.Source(dict(name='x', scope='backbone'), torch.nn.Identity)
    with pytest.raises(ConfigError, match='(?s)PyTorch sees no GPU.*Fix: '):
        pytorch_candidate(source, (1, 3, 8, 8), 'graph', 'fp32', 'cpu').load(None)


def test_an_engine_replays_its_graph(gpu):
    engine = FakeEngine(gpu)
    loaded = engine_call(engine, {'input': np.ones((1, 3, 4, 4), np.float32)}, graph=True)
    gpu.runs = 0
    assert loaded.run() == 2.5 and (gpu.runs, gpu.replays) == (0, 1)


def test_an_engine_on_a_gpu_is_timed_by_events(gpu):
    engine = FakeEngine(gpu)
    loaded = engine_call(engine, {'input': np.ones((1, 3, 4, 4), np.float32)})
    found = loaded.run()
    assert isinstance(found, Milliseconds) and found == 2.5
    assert loaded.finish() == dict(h2d_ms=0.0, d2h_ms=0.0)  # copies run no engine
    with pytest.raises(ConfigError, match='--graph'):
        engine_call(types.SimpleNamespace(run=None), {}, graph=True)


# --- sources ----------------------------------------------------------------------------------------------------------


def test_exported_graph(tmp_path):
    tiny = TRTViT(arch=TINY).eval()
    tiny.switch_to_deploy()
    operators = export_backbone(tiny, torch.rand(1, 3, 64, 64), tmp_path / 'tiny.onnx')
    assert operators['LayerNormalization'] == 2 * TINY['depths'][-1]
    graph = onnx.load(tmp_path / 'tiny.onnx')
    onnx.checker.check_model(graph)
    assert [output.name for output in graph.graph.output] == ['stride4', 'stride8', 'stride16', 'stride32']
    assert {node.domain for node in graph.graph.node} == {''}


def test_training_form_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'OPSET', 16)
    with pytest.raises(DeployError, match='0 LayerNormalization'):
        export_backbone(TRTViT(arch=TINY).eval(), torch.rand(1, 3, 64, 64), tmp_path / 'tiny.onnx')
    assert not list(tmp_path.iterdir())


def test_a_backbone_of_a_config(tmp_path):
    config = tmp_path / 'r18.py'
    config.write_text(
        "default_scope = 'mmdet'\nmodel = dict(backbone=dict(type='ResNet', depth=18, "
        "init_cfg=dict(type='Pretrained', checkpoint='not/there.pth')))\n"
    )
    source = sources.config_backbone(config)
    assert source.facts['name'] == 'ResNet of r18' and source.facts['origin'] == 'registry'
    counted = source.count((1, 3, 64, 64))
    assert counted['params'] == sum(p.numel() for p in source.build().parameters()) and counted['macs'] > 1e8
    config.write_text('model = dict(head=dict())\n')
    with pytest.raises(ConfigError, match='no model.backbone'):
        sources.config_backbone(config)


def test_timm_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ConfigError, match='needs the package timm'):
        sources.timm_backbone('resnet50')
    made = []
    stand_in = types.ModuleType('timm')
    stand_in.__version__, stand_in.list_models = '1.0', lambda *_: ['resnet50']
    stand_in.create_model = lambda name, **options: made.append((name, options)) or torch.nn.Conv2d(3, 8, 3)
    monkeypatch.setitem(sys.modules, 'timm', stand_in)
    assert sources.timm_backbone('resnet50').count((1, 3, 8, 8)) == dict(params=224, macs=36 * 216)
    assert made[0] == ('resnet50', dict(features_only=True, exportable=True))
    with pytest.raises(ConfigError, match='no model resnet51'):
        sources.timm_backbone('resnet51')


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(families=['resnet']), '--families resnet is unknown.*trtvit'),
        (dict(archs=['xxl']), '--archs xxl: none.*l1'),
        (dict(families=['nextvit'], archs=['d']), '--archs d: none.*b, l, s'),
        (dict(shapes=['800*800']), '--size 800[*]800 is not a size'),
        (dict(shapes=['0']), 'is not a size'),
        (dict(batches=[0]), '--batches 0'),
        (dict(threads=0), '--threads 0'),
        (dict(max_seconds=-1.0), '--max-seconds -1.0'),
        (dict(backends=['onnx']), '--backends onnx is unknown'),
        (dict(modes=['fast']), '--modes fast is unknown'),
        (dict(precisions=['fp8']), '--precisions fp8 is unknown'),
        (dict(device='cpu', backends=['pytorch'], precisions=['int8']), 'No backend of pytorch has the precision int8'),
    ],
    ids=str,
)
def test_bad_input(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_backbone(out=tmp_path / 'out', **settings)
    assert not (tmp_path / 'out').exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_a_device_that_is_not_here(tmp_path):
    with pytest.raises(ConfigError, match='--device cuda is not here'):
        Sweep(tmp_path / 'x.jsonl', device='cuda')


def test_sizes():
    assert parse_shape('224') == (224, 224) and parse_shape('800x1344') == (800, 1344)


# --- the suite and growth ---------------------------------------------------------------------------------------------


def test_growth_measures_one_quantity_at_a_time():
    batch, pixels, sizes = growth_groups('trtvit', ['openvino'], 'cpu')
    assert {tuple(c.facts['shape'][2:]) for c in batch} == {(224, 224)} and len(batch) >= 3
    assert {c.facts['shape'][0] for c in pixels} == {1} and len(pixels) >= 3
    assert len({tuple(c.facts['shape']) for c in sizes}) == 1 and len(sizes) == len(our_backbones(['trtvit'], None))


def test_the_suite_holds_what_the_tables_show(tmp_path, monkeypatch):
    called = []

    class Recorder:
        device = 'cpu'

        def __call__(self, groups):
            called.extend(groups)
            return []

    monkeypatch.setattr(suite, 'make_sweep', lambda out, **settings: Recorder())
    assert suite.benchmark_suite(tmp_path) == []
    shapes = {tuple(c.facts['shape']) for group in called for c in group}
    assert {(1, 3, 224, 224), (8, 3, 224, 224), (1, 3, 800, 1344)} <= shapes
    first = called[0]
    assert {c.facts['backend'] for c in first} == {'pytorch', 'onnxruntime', 'openvino'}
    assert {c.facts['precision'] for c in called[1]} >= {'fp32', 'bf16', 'int8'}
    json.dumps([c.facts for group in called for c in group])
