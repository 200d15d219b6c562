"""Rows of measurements: the published schema, what fills it, and the file."""

import json
import re

import pytest

from mmtrtvit.errors import DataError
from mmtrtvit.latency import Latency
from mmtrtvit.machine import machine
from mmtrtvit.measurement import append_row, measurement_row, read_measurements, schema

FACTS = dict(backend='pytorch', precision='fp32', device='cpu', shape=[2, 3, 64, 64])


def latency(values=(30.0, 10.0, 20.0), **changes):
    return Latency('x', 'backbone', list(values), {}, **changes)


@pytest.fixture
def validate():
    jsonschema = pytest.importorskip('jsonschema')
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema()).validate


def test_rows_are_as_the_schema_says(validate):
    validate(measurement_row(latency(), **FACTS))
    limit = dict(of='MatMul 2048, pytorch', macs_per_second=1e11, share=0.8)
    validate(measurement_row(latency(), **FACTS, limit=limit, machine=machine(), parts_ms=dict(network=3.0)))
    validate(measurement_row(latency(failure='RuntimeError: out of memory'), **FACTS))
    validate(measurement_row(latency(values=()), **FACTS))


@pytest.mark.parametrize(
    'changes',
    [
        dict(precision='fp8'),
        dict(shape=[3, 64, 64]),
        dict(status='FAILED', reason=None),
        dict(p50_ms=None),
        dict(values_ms=[]),
        dict(schema=2),
        dict(surprise=1),
        dict(limit=dict(of='MatMul', share=0.8)),
    ],
    ids=str,
)
def test_the_schema_refuses(validate, changes):
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        validate({**measurement_row(latency(), **FACTS), **changes})


def test_figures_of_a_row():
    row = measurement_row(latency((500.0, 10.0, 20.0, 30.0), start=1), **FACTS)
    assert row['status'] == 'OK' and row['runs'] == 3 and row['first_counted'] == 1
    assert row['p50_ms'] == row['mean_ms'] == 20 and row['std_ms'] == pytest.approx(8.165, abs=1e-3)
    assert row['batch'] == 2 and row['images_per_second'] == pytest.approx(100)
    assert row['variation'] == pytest.approx(0.5) and row['steady'] is False
    assert row['values_ms'] == [500, 10, 20, 30]
    assert list(row) == list(schema()['properties'])


def test_a_failure_is_a_row_with_its_reason():
    row = measurement_row(latency((), failure='RuntimeError: no'), **FACTS)
    assert (row['status'], row['reason'], row['p50_ms']) == ('FAILED', 'RuntimeError: no', None)


def test_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match='surprise'):
        measurement_row(latency(), **FACTS, surprise=1)


def test_rows_are_appended(tmp_path):
    path, rows = tmp_path / 'new' / 'rows.jsonl', [measurement_row(latency(), **FACTS, run=run) for run in 'ab']
    for row in rows:
        append_row(row, path)
    assert read_measurements(path) == rows


@pytest.mark.parametrize(
    'content, message',
    [
        (None, 'There is no file'),
        ('{"schema": 1}\n{"sch', 'line 2 is not a measured row'),
        ('[]\n', 'line 1 is not a measured row'),
        (json.dumps(dict(schema=99)), 'line 1 has version 99'),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / 'rows.jsonl'
    if content:
        path.write_text(content)
    with pytest.raises(DataError, match=re.escape(message)):
        read_measurements(path)
