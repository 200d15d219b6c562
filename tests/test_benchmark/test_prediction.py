"""The benchmark of a folder of images: every number of streams in turn, a row for each."""

import json

import cv2
import numpy as np
import pytest

from mmtrtvit.benchmark.prediction import benchmark_prediction, peak_memory
from mmtrtvit.errors import ConfigError
from tests.fixtures.tiny_artefacts import make_detector


@pytest.fixture(scope='module')
def artefact(tmp_path_factory):
    return make_detector(tmp_path_factory.mktemp('artefact'))


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), pixels)
    return folder


def test_each_number_of_streams_has_a_row(artefact, images, tmp_path):
    settings = dict(out=tmp_path, formats=['csv'], images=3, threads=2, iterations=3)
    rows = benchmark_prediction(artefact, images, streams=(1, 2), **settings)
    assert [row['streams'] for row in rows] == [1, 2]
    for row in rows:
        assert (row['images'], row['pixels'], row['rounds'], row['formats']) == (3, 2400, 3, 'csv')
        assert min(row['milliseconds'].values()) > 0 and row['ratio'] > 0
        assert min(row['peak_bytes'].values()) > 2**20
    assert rows[0]['gain'] == dict(network=1.0, predict=1.0) and set(rows[1]['gain']) == {'network', 'predict'}
    # rows of the same settings replace those that are there
    again = benchmark_prediction(artefact, images, streams=(2,), timed=False, **settings)
    written = json.loads((tmp_path / 'prediction.json').read_text())['rows']
    assert [(row['streams'], 'milliseconds' in row) for row in written] == [(1, True), (2, False)]
    assert 'milliseconds' not in again[0]


def test_peak_memory_is_not_that_of_this_process(artefact, images):
    """A process that ``spawn`` starts was a fork of this one for a moment, and ``getrusage`` counts that."""
    ballast = bytearray(b'x') * 2**30
    assert peak_memory(artefact, images, 2, formats=['csv']) < len(ballast)


def test_numbers_are_checked(artefact, images, tmp_path):
    with pytest.raises(ConfigError, match=r'--streams 0 is too small[\s\S]*Fix: '):
        benchmark_prediction(artefact, images, out=tmp_path, streams=(2, 0))
    assert not list(tmp_path.iterdir())
