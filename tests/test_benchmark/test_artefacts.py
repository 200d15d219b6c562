"""Rows of a whole artefact: its engine by itself, in mmdeploy's wrapper, and as users run it."""

import pytest

from mmtrtvit.benchmark.speed import benchmark_end_to_end, benchmark_engine
from mmtrtvit.errors import DataError

QUICK = dict(size='64x96', busy_ok=True, min_runs=2, min_seconds=0.0, warmup_seconds=0.0, max_seconds=5.0, threads=1)


@pytest.fixture(scope='module')
def rows(deployed, tmp_path_factory):
    out = tmp_path_factory.mktemp('rows')
    found = benchmark_engine([deployed.folder], out, profiler=True, **QUICK)
    found += benchmark_end_to_end([deployed.folder], out, **QUICK)
    return {(row['scope'], row['mode']): row for row in found if row['scope'] != 'gemm'}


def test_the_engine_by_itself_and_end_to_end(rows):
    engine, whole = rows['engine', 'plain'], rows['end-to-end', 'plain']
    assert (engine['status'], whole['status']) == ('OK', 'OK')
    assert engine['shape'][:2] == [1, 3] and whole['image'] == [64, 96]
    assert set(whole['parts_ms']) == {'preprocessing', 'network', 'postprocessing'}


def test_another_export_runs_on_the_same_input_in_the_same_backend(deployed, tmp_path):
    other = tmp_path / 'plain.onnx'
    other.write_bytes((deployed.folder / 'end2end.onnx').read_bytes())
    rows = benchmark_engine([deployed.folder], tmp_path, beside=[str(other)], **QUICK)
    ours, theirs = sorted((row for row in rows if row['scope'] == 'engine'), key=lambda row: 'other' in row['extra'])
    assert (ours['status'], theirs['status']) == ('OK', 'OK') and ours['run'] == theirs['run']
    assert theirs['name'] == f'{ours["name"]} (plain.onnx)' and theirs['extra']['other'] == 'plain.onnx'
    assert (theirs['backend'], theirs['shape']) == (ours['backend'], ours['shape'])
    with pytest.raises(DataError, match=r'missing\.onnx[\s\S]*Fix: '):
        benchmark_engine([deployed.folder], tmp_path, beside=['missing.onnx'], **QUICK)


def test_mmdeploys_profiler_times_the_same_call(rows):
    engine, theirs = rows['engine', 'plain'], rows['engine', "mmdeploy's profiler"]
    assert (theirs['status'], theirs['shape']) == ('OK', engine['shape'])
    assert len(theirs['values_ms']) >= 2 and min(theirs['values_ms']) > 0
