"""Several images at the same time: results in order, those of single calls, and no thread left behind."""

import threading
import time

import numpy as np
import pytest

from mmtrtvit.errors import DataError, DeployError
from mmtrtvit.runtime import load
from mmtrtvit.runtime.streams import run_streams

BACKENDS = ['onnxruntime', 'openvino']


@pytest.fixture(scope='module')
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (20 + index % 5, 24, 3), dtype=np.uint8) for index in range(16)]


@pytest.mark.parametrize('streams', [1, 2, 3])
def test_results_are_in_order_and_no_more_run_at_once(streams):
    running, most, lock = 0, 0, threading.Lock()

    def work(number):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002 * (number % 3))
        with lock:
            running -= 1
        return -number

    assert list(run_streams(work, range(20), streams)) == [-number for number in range(20)]
    assert most == streams
    assert list(run_streams(work, [], streams)) == []


@pytest.mark.parametrize('streams', [1, 2])
@pytest.mark.parametrize('where', ['items', 'work'])
def test_an_error_comes_after_the_results_before_it(streams, where):
    def items():
        for number in range(9):
            if (where, number) == ('items', 5):
                raise ValueError('the item')
            yield number

    def work(number):
        if (where, number) == ('work', 5):
            raise ValueError('the work')
        return number

    found = []
    with pytest.raises(ValueError, match=f'the {where[:4]}'):
        for result in run_streams(work, items(), streams):
            found.append(result)
    assert found == [0, 1, 2, 3, 4]


def test_items_are_taken_as_they_are_needed_and_closing_ends_the_threads():
    taken, threads = [], threading.active_count()
    results = run_streams(lambda number: number, (taken.append(number) or number for number in range(99)), 2)
    assert next(results) == 0 and taken == [0, 1, 2]
    results.close()
    assert taken == [0, 1, 2] and threading.active_count() == threads


@pytest.mark.parametrize('backend', BACKENDS)
def test_results_are_those_of_single_calls(plain_segmentor, images, backend):
    folder = plain_segmentor(backend, layers=4)
    predict, alone = load(folder, threads=2, streams=2), load(folder, threads=1)
    assert predict.network.session.streams == 2
    for found, image in zip(predict.stream(iter(images)), images, strict=True):
        np.testing.assert_array_equal(found.labels, predict(image).labels)
        np.testing.assert_array_equal(found.labels, alone(image).labels)  # each stream has one thread


@pytest.mark.parametrize('backend', BACKENDS)
def test_both_streams_are_used(plain_segmentor, images, backend):
    """Two runs meet inside the network."""
    predict = load(plain_segmentor(backend, layers=4), threads=2, streams=2)
    session, meeting = predict.network.session, threading.Barrier(2, timeout=10)
    run = session.run
    session.run = lambda feeds: (meeting.wait(), run(feeds))[1]
    assert len(predict(images)) == len(images)


def test_an_image_that_cannot_be_used_does_not_take_others_along(plain_segmentor, images):
    predict = load(plain_segmentor(layers=4), threads=2, streams=2)
    found = []
    with pytest.raises(DataError, match='8 x 8 float32'):
        for result in predict.stream([*images[:5], np.zeros((8, 8), np.float32), *images[5:]]):
            found.append(result)
    assert len(found) == 5


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    'options, message',
    [
        (dict(threads=1, streams=2), r'streams=2 was given, and there are 1 threads to share.\n.*from 1 to 1\nFix: '),
        (dict(threads=4, streams=0), 'streams=0 was given'),
        (dict(threads=-1), r'threads=-1 was given.\n.*from 1 on\nFix: '),
        (dict(threads='2'), r"threads='2' was given"),
        (dict(threads=4, streams=True), 'streams=True was given'),
        (dict(threads=4, streams=1.5), 'streams=1.5 was given'),
        (dict(streams=2, device='auto'), r"streams=2 was given for device='auto'.\n.*\nFix: leave it out"),
    ],
)
def test_streams_that_cannot_be(plain_segmentor, backend, options, message):
    with pytest.raises(DeployError, match=message):
        load(plain_segmentor(backend), **options)
