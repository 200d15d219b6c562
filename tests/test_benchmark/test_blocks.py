"""Where the time of a backbone goes: every layer belongs to a block, and the blocks are in the rows."""

import pytest
import torch

from mmtrtvit import machine as host
from mmtrtvit.benchmark import limit
from mmtrtvit.benchmark.parts import block_of, module_times, profile_parts
from mmtrtvit.benchmark.sources import export_backbone
from mmtrtvit.benchmark.speed import benchmark_backbone
from mmtrtvit.models import TRTViT, TurboViT
from mmtrtvit.zoo.complexity import count_complexity

TINY = dict(
    widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'), provenance='own choice: for a test'
)
TURBO = dict(widths=(16, 16, 32, 32), depths=(1, 1, 1, 2), heads=(1, 1, 2, 2), mask_units=(8, 4, 0, 0))
BLOCKS = ['stem', 'stage 1.0', 'stage 2.0', 'stage 3.0', 'stage 4.0', 'stage 4.1']


@pytest.mark.parametrize(
    ('name', 'part'),
    [
        ('/stem/stem.0/conv/Conv', 'stem'),
        ('/stages.0/stages.0.2/conv1/conv/Conv', 'stage 1.2'),
        ('/stages.3.11/mlp/mlp.0/MatMul', 'stage 4.11'),
        ('/backbone/stages.1/stages.1.0/Add', 'stage 2.0'),
        ('/stages_1/blocks/blocks.3/mlp/fc1/Conv', 'stage 2.3'),
        ('/stages.3/blocks/blocks.0/ls2/Mul', 'stage 4.0'),
        ('/stages_1/downsample/conv/Conv', 'stage 2'),
        ('/stem_2/conv/Conv', 'stem'),
        ('/output_norms.2/LayerNormalization', 'outputs'),
        ('/final_norm/Mul', 'outputs'),
        ('/backbone/Transpose_1', 'outputs'),
        ('Reorder_12', ''),
        ('/neck/lateral_convs.1/conv/Conv', ''),
        ('', ''),
    ],
)
def test_block_of(name, part):
    assert block_of(name) == part


def test_modules_of_a_backbone():
    backbone, image = TRTViT(arch=TINY).eval(), torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        found = module_times(backbone, lambda: backbone(image))
    assert list(found) == [*BLOCKS, 'outputs'] and all(ms > 0 for ms in found.values())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in backbone.modules())
    assert module_times(torch.nn.ReLU(), lambda: None) is None


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_every_block_has_its_time_and_its_multiply_accumulates(backend, tmp_path):
    path, image = tmp_path / 'turbovit.onnx', torch.rand(1, 3, 64, 96)
    backbone = TurboViT(arch=TURBO).eval()
    backbone.switch_to_deploy()
    export_backbone(backbone, image, path)
    found = profile_parts(backend, path, path, {'image': image.numpy()}, runs=2, module=block_of, threads=1)
    assert set(BLOCKS) <= set(found) and all(found[name].ms > 0 for name in BLOCKS)
    counted = count_complexity(backbone, tuple(image.shape))
    stages: dict[str, int] = {}
    for name, part in found.items():
        stages[name.split('.')[0]] = stages.get(name.split('.')[0], 0) + part.macs
    expected = [macs for _, macs in counted.parts.values()]
    assert [stages[name] for name in ('stem', 'stage 1', 'stage 2', 'stage 3', 'stage 4')] == expected


def test_rows_have_blocks_where_they_are_asked_for(tmp_path, monkeypatch):
    quiet = dict(load_average=0.1, others=[], frequency_mhz=None, gpu=None)
    monkeypatch.setattr(host, 'conditions', lambda: quiet)
    monkeypatch.setitem(limit.SIDE, 'cpu', 64)
    monkeypatch.setitem(TRTViT.arch_settings, 'tiny', TINY)
    settings = dict(threads=1, device='cpu', warmup_runs=1, warmup_seconds=0.0, min_runs=3, min_seconds=0.0)
    rows = benchmark_backbone(
        ['trtvit'], ['tiny'], out=tmp_path, shapes=['64'], parts=True, max_seconds=3.0, **settings
    )
    rows = [row for row in rows if row['scope'] == 'backbone']
    assert len(rows) == 3
    for row in rows:
        assert set(BLOCKS) <= set(row['parts_ms'])
        if row['mode'] == 'plain':
            assert sum(row['extra']['parts_macs'].values()) == row['macs']
            assert sum(row['extra']['operators_ms'].values()) == pytest.approx(sum(row['parts_ms'].values()))
