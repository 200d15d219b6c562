"""The table of the GPU suite: nothing without rows, and each figure in its place."""

import pytest

from mmtrtvit.latency import Latency
from mmtrtvit.measurement import append_row, measurement_row
from pages.documents import MEASURED, page_of_rows
from pages.gpu import gpu_table


def row(name, milliseconds, batch=1, mode='eager', precision='fp16', device='cuda', **changes):
    values = [milliseconds] * 30 if milliseconds else []
    return measurement_row(
        Latency(name, 'backbone', values, {}, settled=changes.pop('steady', True), failure=changes.pop('failure', '')),
        **{
            **dict(backend='pytorch', mode=mode, precision=precision, device=device, device_name='GPU X'),
            **dict(shape=[batch, 3, 224, 224], versions={'torch': '2.11.0'}),
            **changes,
        },
    )


@pytest.fixture
def rows():
    return [
        row('TRT-ViT-A', 1.5),
        row('TRT-ViT-A', 0.75, mode='graph'),
        row('resnet50 (timm)', 2.25, steady=False),
        row('TRT-ViT-A', 9.0, batch=8, precision='tf32', mode='channels_last'),
        row('TRT-ViT-A', 0, batch=8, backend='tensorrt', mode='plain', failure='RuntimeError: no memory'),
        row('TRT-ViT-A', 77.0, device='cpu'),
        row('MatMul 8192', 3.0, scope='gemm'),
    ]


def test_a_table_for_each_batch(rows):
    table = gpu_table(dict(rows=rows))
    first, second = table.split('**Batch 8**')
    assert '| backbone | PyTorch FP16 | PyTorch FP16, CUDA graph |' in first
    assert '| TRT-ViT-A | 1.50 | 0.75 |' in first
    assert '| resnet50 (timm) | 2.25 (u) |  |' in first
    assert '| backbone | PyTorch TF32, channels last | TensorRT FP16 |' in second
    assert '| TRT-ViT-A | 9.00 | failed |' in second
    assert '77.00' not in table and 'MatMul' not in table


def test_the_note_says_where_and_what_failed(rows):
    note = gpu_table(dict(rows=rows)).rpartition('\n\n')[2]
    assert note.startswith('*Measured* on GPU X: median milliseconds of a batch of 224 x 224')
    assert '(u): unsteady.' in note and 'torch 2.11.0' in note
    assert 'TRT-ViT-A, TensorRT FP16: RuntimeError: no memory' in note
    assert '(u)' not in gpu_table(dict(rows=rows[:2]))


def test_a_busy_machine_is_told():
    rows = [row('TRT-ViT-A', 1.0, conditions=dict(busy='3 processes use the GPU'))]
    assert 'busy: 3 processes use the GPU' in gpu_table(dict(rows=rows))


def test_each_gpu_has_its_own(rows):
    table = gpu_table(dict(rows=[*rows, row('TRT-ViT-B', 4.0, device_name='GPU Y')]))
    assert table.count('*Measured*') == 2 and '*Measured* on GPU Y' in table


@pytest.mark.parametrize('kept', [slice(0), slice(5, 6)], ids=['no rows', 'rows of a CPU'])
def test_nothing_is_claimed_where_nothing_ran(rows, kept):
    assert (
        MEASURED['gpu'].table(dict(rows=rows[kept]), None) == '*No GPU has been measured yet: `make gpu` makes rows.*'
    )


def test_a_page_of_own_rows(root, rows, tmp_path):
    for one in rows:
        append_row(one, tmp_path / 'gpu.jsonl')
    assert '| TRT-ViT-A | 1.50 | 0.75 |' in page_of_rows(root, tmp_path / 'gpu.jsonl').read_text()
