"""The example web service, as a process of its own, asked by many clients at once."""

import base64
import concurrent.futures
import importlib.util
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx writes the networks of these tests')
pytest.importorskip('fastapi', reason='requirements/service.txt is not installed')
pytest.importorskip('python_multipart', reason='requirements/service.txt is not installed')
pytest.importorskip('uvicorn', reason='requirements/service.txt is not installed')
pytest.importorskip('httpx', reason='httpx asks the service')

import httpx

from mmtrtvit.runtime import load
from tests.fixtures.tiny_artefacts import expected_detections, make_detector, make_segmentor

FOLDER = Path(__file__).resolve().parents[2] / 'examples' / 'service'
LIMITS = ['--max-bytes', '100000', '--max-pixels', '20000']


def module(name):
    """A file of the example."""
    spec = importlib.util.spec_from_file_location(f'service_{name}', FOLDER / f'{name}.py')
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses ask for it
    spec.loader.exec_module(loaded)
    return loaded


app, load_test = module('app'), module('load')


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    folder = make_detector(tmp_path_factory.mktemp('service') / 'a', masks=True)
    with load_test.Service(folder, *LIMITS, '--score', '0.1', '--threads', '1') as service:
        yield service


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory):
    with load_test.Service(make_segmentor(tmp_path_factory.mktemp('service') / 'a'), '--threads', '1') as service:
        yield service


def picture(seed):
    numbers = np.random.default_rng(seed)
    image = (numbers.integers(0, 256, 3) * np.ones((30 + seed % 7, 40 + seed % 5, 1))).astype(np.uint8)
    return image, cv2.imencode('.png', image)[1].tobytes()


def check(image, answer):
    assert answer.status_code == 200, answer.text
    content = answer.json()
    boxes, scores = expected_detections(image)
    assert (content['height'], content['width']) == image.shape[:2]
    assert [entry['name'] for entry in content['objects']] == ['green', 'red']
    np.testing.assert_allclose([entry['box'] for entry in content['objects']], boxes, atol=1e-3)
    np.testing.assert_allclose([entry['score'] for entry in content['objects']], scores, atol=1e-5)


def test_a_body_and_a_form(detector):
    image, content = picture(0)
    check(image, httpx.post(f'{detector.url}/predict', content=content))
    answer = httpx.post(f'{detector.url}/predict', files={'file': ('a.png', content)})
    check(image, answer)
    masks = pytest.importorskip('pycocotools.mask').decode
    found = load(detector.folder)(image)
    for entry, mask in zip(answer.json()['objects'], found.masks, strict=True):
        np.testing.assert_array_equal(masks(entry['mask']), mask)
    assert httpx.post(f'{detector.url}/predict?score=0.99', content=content).json()['objects'] == []


def test_a_label_map(segmentor):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    content = httpx.post(f'{segmentor.url}/predict', content=cv2.imencode('.png', image)[1].tobytes()).json()
    written = cv2.imdecode(np.frombuffer(base64.b64decode(content['label_map_png']), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(written.argmax(-1), 2 - image[..., ::-1].argmax(-1))
    assert sum(entry['share'] for entry in content['classes']) == pytest.approx(1)


def test_the_service_describes_itself(detector):
    assert httpx.get(f'{detector.url}/health').json() == {'status': 'ok'}
    model = httpx.get(f'{detector.url}/model').json()
    assert model['task'] == 'instance' and model['classes'] == ['red', 'green', 'blue']


@pytest.mark.parametrize(
    'request_of, status, said',
    [
        (dict(content=b''), 422, 'not an image'),
        (dict(content=b'no image'), 422, 'not an image'),
        (dict(content=picture(1)[1][:60]), 422, 'damaged'),
        (dict(content=cv2.imencode('.png', np.zeros((201, 100, 3), np.uint8))[1].tobytes()), 422, '201 x 100'),
        (dict(content=bytes(100_001)), 422, '100001 bytes'),
        (dict(content=bytes(200_000)), 413, '100000'),
        (dict(content=iter([bytes(50_000)] * 8)), 413, '100000'),  # without a length
        (dict(files={'file': ('a.png', bytes(300_000))}), 413, '100000'),
        (dict(files={'image': ('a.png', picture(1)[1])}), 422, 'no file in the field'),
        (dict(data={'file': 'text'}, files={'other': b''}), 422, 'no file in the field'),
        (dict(content=b'--x', headers={'content-type': 'multipart/form-data; boundary=y'}), 400, ''),
        (dict(content=picture(1)[1], params={'score': 'high'}), 422, 'score'),
        (dict(content=picture(1)[1], params={'score': 2}), 422, 'score'),
    ],
)
def test_uploads_that_cannot_be_used_are_refused(detector, request_of, status, said):
    answer = httpx.post(f'{detector.url}/predict', **request_of)
    assert answer.status_code == status and said in answer.text, (answer.status_code, answer.text)
    image, content = picture(2)
    check(image, httpx.post(f'{detector.url}/predict', content=content))  # and it goes on


@pytest.fixture(scope='module')
def uploads(detector):
    """Files with the answers of the runtime, and one that has to be refused."""
    predictor, settings, made = load(detector.folder, threads=1), app.Settings(), []
    for seed in range(40):
        image, content = picture(seed)
        answer = app.answer_to(predictor, content, settings, 0.1)
        np.testing.assert_allclose(
            [entry['box'] for entry in answer['objects']], expected_detections(image)[0], atol=1e-3
        )
        made.append((content, answer))
    return [*made, (made[0][0][:60], None)]


def test_many_clients_get_their_own_answers(detector, uploads):
    seconds, wrong = load_test.ask(detector.url, uploads, 16, 320)
    assert len(seconds) == 320 and not wrong
    uploads = [(uploads[0][0], uploads[1][1])]  # the answer to another image
    assert len(load_test.ask(detector.url, uploads, 2, 4)[1]) == 4


@pytest.mark.slow
def test_the_memory_does_not_grow_under_load(detector, uploads):
    assert not load_test.ask(detector.url, uploads, 16, 800)[1]
    before = detector.memory()
    assert not load_test.ask(detector.url, uploads, 16, 2000)[1]
    assert detector.memory() < before + 8e6


def test_more_requests_than_may_wait_are_refused(tmp_path):
    content = cv2.imencode('.bmp', np.zeros((1500, 2000, 3), np.uint8))[1].tobytes()
    with load_test.Service(make_detector(tmp_path / 'a'), '--waiting', '1', '--at-once', '1') as service:

        def ask(_):
            return httpx.post(f'{service.url}/predict', content=content, timeout=60)

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(48)))
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(answer.headers['retry-after'] for answer in answers if answer.status_code == 503)


def test_a_folder_that_is_no_artefact(tmp_path):
    done = subprocess.run(
        [sys.executable, str(FOLDER / 'app.py'), str(tmp_path)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 2 and 'holds no exported artefact' in done.stderr and 'Traceback' not in done.stderr
