"""Threads, processes, batches and iterators give the results of single calls, bit for bit."""

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from mmtrtvit.errors import ConfigError, DataError, DeployError
from mmtrtvit.runtime import Network, load

BACKENDS = ['onnxruntime', 'openvino']


@pytest.fixture(scope='module')
def images():
    """Images of different content and size."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (20 + index % 5, 24, 3), dtype=np.uint8) for index in range(32)]


@pytest.fixture(scope='module', params=BACKENDS)
def folder(request, plain_segmentor):
    return plain_segmentor(request.param, layers=4)


@pytest.fixture(scope='module')
def alone(folder, images):
    """The result of a single call for each image."""
    predict = load(folder, threads=1)
    return [predict(image).labels for image in images]


def outputs_equal(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_16_threads(folder, images):
    predict = load(folder, threads=2)
    wanted = [predict.outputs(image)[0] for image in images]

    def right(place):
        return outputs_equal(predict.outputs(images[place])[0], wanted[place])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(right, [place % len(images) for place in range(1000)]))
    assert all(answers), f'{answers.count(False)} of {len(answers)} answers belong to another image'


def test_threads_share_one_predictor_and_keep_its_results(folder, images, alone):
    """Results of a thread stay as they are while others run."""
    predict = load(folder, threads=1)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(predict, images * 4))
    for place, result in enumerate(found):
        np.testing.assert_array_equal(result.labels, alone[place % len(images)])


@pytest.mark.parametrize('batch_size', [1, 3, 8, 100])
def test_lists_and_iterators(folder, images, alone, batch_size):
    predict = load(folder, threads=1)
    for found in (
        predict(images, batch_size=batch_size),
        predict.stream(images, batch_size=batch_size),
        predict.stream((image for image in images), batch_size=batch_size),
    ):
        for result, wanted in zip(found, alone, strict=True):
            np.testing.assert_array_equal(result.labels, wanted)


@pytest.mark.parametrize('backend', BACKENDS)
def test_outputs_do_not_depend_on_the_batch(plain_segmentor, images, backend):
    predict = load(plain_segmentor(backend, layers=4), threads=2)
    batch, _ = predict._preprocessing([image[:20] for image in images])
    together = predict.network(batch)
    for place, outputs in enumerate(together):
        assert outputs_equal(outputs, predict.network(batch[place : place + 1])[0])


def test_large_outputs_are_lent(plain_segmentor, images, monkeypatch):
    """OpenVINO's own memory: whoever holds a part of it keeps it from being overwritten."""
    monkeypatch.setattr('mmtrtvit.runtime.backends.openvino.LARGE', 1)
    predict = load(plain_segmentor('openvino', layers=4), threads=1)
    session = predict.network.session
    (first, _), wanted = predict.outputs(images[0]), predict.outputs(images[0])[0]['output'].copy()
    part = first['output'][1:]
    del first
    gc.collect()
    assert not session._permits  # the part is held
    held = [predict.outputs(image)[0]['output'] for image in images[1:4]]
    np.testing.assert_array_equal(part, wanted[1:])
    for image, output in zip(images[1:4], held, strict=True):
        np.testing.assert_array_equal(output, predict.outputs(image)[0]['output'])
    requests = len(session._free)
    del part
    gc.collect()
    assert len(session._free) == requests + 1 and session._permits
    for image in images:
        predict(image)
    assert len(session._free) == requests + 1 == 2


def test_an_engine_of_a_fixed_batch_size(plain_segmentor, images):
    """Batches are filled up."""
    free, fixed = load(plain_segmentor(layers=2)), load(plain_segmentor(layers=2, batch=4))
    assert (free.network.most, fixed.network.most) == (1, 4)
    for one, other in zip(free(images[:6]), fixed(images[:6]), strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)


def test_a_stream_reads_no_further_than_it_must(plain_segmentor, images):
    for limit, batch_size, read in ((None, 3, 3), (2, 3, 2), (1, 8, 1)):
        predict = load(plain_segmentor())
        predict.network.most = limit
        taken = []
        results = predict.stream((taken.append(image) or image for image in images), batch_size=batch_size)
        assert not taken
        next(results)
        assert len(taken) == read
        for _ in range(read):
            next(results)
        assert len(taken) == 2 * read


def test_batches_of_a_gpu_are_bounded(plain_segmentor, images):
    predict = load(plain_segmentor())
    session = predict.network.session
    session.device, sizes, run = 'cuda', [], session.run
    session.run = lambda feeds: [sizes.append(len(feeds['input'])), run(feeds)][1]
    predict.network = Network(session, 'segmentation')
    assert len(predict([images[0]] * 20)) == 20 and sizes == [8, 8, 4]
    sizes.clear()
    assert len(predict([images[0]] * 5, batch_size=2)) == 5 and sizes == [2, 2, 1]


def test_what_is_no_series_of_images(plain_segmentor, images):
    predict = load(plain_segmentor())
    for batch_size in (0, -1, 2.0, True, None):
        with pytest.raises(ConfigError, match='batch size'):
            predict.stream(images, batch_size=batch_size)
        with pytest.raises(ConfigError, match='batch size'):
            predict(images[0], batch_size=batch_size)
    for given in ('image.jpg', images[0], 7):
        with pytest.raises(DataError, match='where several are expected'):
            predict.stream(given)
    with pytest.raises(DataError, match=r'given as generator(.*\n)+Fix: .*predictor.stream'):
        predict(image for image in images)
    results = predict.stream([images[0], 'nowhere.jpg'])
    next(results)
    with pytest.raises(DataError, match='There is no image nowhere.jpg'):
        next(results)
    assert list(predict.stream([])) == []


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('method', ['spawn', 'fork'])
def test_a_predictor_goes_to_other_processes(folder, images, alone, method):
    # no function of this file: mmsegmentation 1.2.2 installs a package `tests`, which a new process finds instead
    predict = load(folder, threads=1)
    predict(images[0])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        found = list(pool.map(predict, images[:3], timeout=120))
    for result, wanted in zip(found, alone[:3], strict=True):
        np.testing.assert_array_equal(result.labels, wanted)


def test_pickling_keeps_the_folder_and_the_options(plain_segmentor, monkeypatch, tmp_path):
    folder = plain_segmentor()
    monkeypatch.chdir(folder.parent)
    text = pickle.dumps(load(folder.name, threads=1))
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(text)
    assert again._loaded == (str(folder), dict(threads=1, streams=None, device=None))
    assert copy.deepcopy(again).manifest == again.manifest
    (folder / 'end2end.onnx').unlink()
    with pytest.raises(DeployError, match='end2end.onnx is missing'):
        pickle.loads(text)


def test_what_cannot_be_pickled(plain_segmentor):
    predict = load(plain_segmentor())
    predict._loaded = None  # made from a network in memory
    for unfit in (predict, predict.network, predict.network.session):
        with pytest.raises(DeployError, match=r'cannot be sent to another process.\nFix: send the predictor'):
            pickle.dumps(unfit)


def end_of(child):
    """What a forked process does; its exit status, or None where it does not end."""
    process = multiprocessing.get_context('fork').Process(target=child)
    process.start()
    process.join(30)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


def test_a_forked_process_gets_a_message(folder, images):
    predict = load(folder, threads=2)
    predict(images[0])

    def child():
        try:
            predict(images[0])
        except DeployError as error:
            os._exit(
                5 if 'before this process was forked' in str(error) and 'Fix: call load(folder)' in str(error) else 1
            )

    assert end_of(child) == 5
    predict(images[0])  # the parent goes on


def test_a_forked_process_may_drop_it_and_load_its_own(folder, images, alone):
    predict = load(folder, threads=2)
    predict(images[0])
    held = [predict]

    def child():
        held.clear()
        gc.collect()
        os._exit(5 if np.array_equal(load(folder, threads=2)(images[0]).labels, alone[0]) else 1)

    del predict
    assert end_of(child) == 5


@pytest.mark.skipif(sys.platform != 'linux', reason='the C library needs on_exit')
def test_a_forked_process_may_end_as_usual(folder, root):
    """Exit handlers of the backend do not wait for threads that are not there."""
    code = f"""
import os, sys, numpy as np
from mmtrtvit.runtime import load
predict = load({str(folder)!r}, threads=2)
predict(np.zeros((24, 24, 3), np.uint8))
child = os.fork()
if not child:
    sys.exit(7)
print('status', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'PYTHONPATH': str(root)},
    )
    assert 'status 7' in done.stdout, done.stderr
