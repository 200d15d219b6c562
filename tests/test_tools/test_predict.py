"""tools/predict.py and tools/export_triton.py: options arrive, and the exit status says what became of the images."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx writes the networks of these tests')

from tests.fixtures.tiny_artefacts import make_detector, make_segmentor


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{seed}.png'), image)
    return folder


@pytest.fixture
def artefact(tmp_path):
    return make_detector(tmp_path / 'artefact', masks=True)


def test_all_images(tool, artefact, images, tmp_path):
    outcome = tool('predict', artefact, images, '--out', tmp_path / 'out', '--score', '0.1')
    assert outcome.status == 0, outcome.err
    assert '3 images, 6 objects' in outcome.out and 'predictions.json' in outcome.out
    assert '3 of 3 images' in outcome.err and '\r' not in outcome.err
    assert (tmp_path / 'out' / 'drawn' / '2.png').is_file()


def test_some_images(tool, artefact, images, tmp_path):
    (images / '1.png').write_bytes(b'')
    outcome = tool('predict', artefact, images, '--out', tmp_path / 'out', '--format', 'csv')
    assert outcome.status == 1 and '1 skipped' in outcome.out and '1.png' in outcome.out
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['predictions.csv', 'summary.json']


def test_no_image(tool, artefact, images, tmp_path):
    for path in images.iterdir():
        path.write_bytes(b'')
    assert 'None of the 3 images' in tool('predict', artefact, images, '--out', tmp_path / 'out').message
    assert not (tmp_path / 'out').exists()


def test_options(tool, artefact, images, tmp_path):
    options = '--format coco --classes red --limit 2 --score 0.1 --batch 2 --threads 1 --device cpu --workers 1'
    assert tool('predict', artefact, images, '--out', tmp_path / 'out', *options.split()).status == 0
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert len(content['images']) == 2 and {entry['category_id'] for entry in content['annotations']} == {1}
    message = tool('predict', artefact, images, '--out', tmp_path / 'out').message
    assert 'is not empty' in message
    assert tool('predict', artefact, images, '--out', tmp_path / 'out', '--overwrite').status == 0


@pytest.mark.parametrize(
    'model, source, said',
    [
        ('none', 'images', 'holds no exported artefact'),
        ('artefact', 'none.jpg', 'There is no none.jpg'),
        ('artefact', 'images/*.gif', 'There is no'),
    ],
)
def test_input_that_cannot_be_used(tool, artefact, images, tmp_path, monkeypatch, model, source, said):
    monkeypatch.chdir(tmp_path)
    assert said in tool('predict', model, source, '--out', 'out').message
    assert not (tmp_path / 'out').exists()


def test_a_config_without_its_checkpoint(tool, toy, images, tmp_path):
    message = tool('predict', toy.config, images, '--out', tmp_path / 'out').message
    assert '--checkpoint' in message


def test_a_checkpoint_finds_what_the_network_finds(tool, toy, toy_checkpoint, tmp_path):
    from mmtrtvit.apis import load_pytorch

    options = ['--checkpoint', toy_checkpoint, '--score', '0.2', '--limit', '2', '--device', 'cpu']
    outcome = tool('predict', toy.config, toy.images[0].parent, '--out', tmp_path / 'out', *options)
    assert outcome.status == 0, outcome.err
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    found = load_pytorch(toy.config, str(toy_checkpoint))(cv2.imread(str(toy.images[0]))).above(0.2)
    first = [entry for entry in content['annotations'] if entry['image_id'] == 1]
    assert len(first) == len(found) > 0
    np.testing.assert_allclose([entry['score'] for entry in first], found.scores, atol=1e-5)
    assert [content['categories'][entry['category_id'] - 1]['name'] for entry in first] == found.names
    assert tool('predict', toy.config, toy.images[0], '--out', tmp_path / 'tiled', *options, '--tile', '96').status == 0
    message = tool('predict', toy.config, toy.images[0], '--out', tmp_path / 'b', *options, '--batch', '2').message
    assert '--batch 1' in message and not (tmp_path / 'b').exists()
    message = tool('predict', toy.config, toy.images[0], '--out', tmp_path / 'b', *options[:2], '--device', 'x').message
    assert 'cannot use the device x' in message


def test_a_triton_repository(tool, tmp_path):
    folder = make_segmentor(tmp_path / 'artefact')
    outcome = tool('export_triton', folder, '--out', tmp_path / 'repository', '--name', 'net', '--max-batch', '2')
    assert outcome.status == 0 and 'Note: ' in outcome.out
    assert 'max_batch_size: 2' in (tmp_path / 'repository' / 'net_network' / 'config.pbtxt').read_text()
    assert 'already has' in tool('export_triton', folder, '--out', tmp_path / 'repository', '--name', 'net').message
    assert 'holds no exported artefact' in tool('export_triton', tmp_path, '--out', tmp_path / 'other').message


WITHOUT_FRAMEWORKS = """
import runpy, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in 'torch mmengine mmcv mmdet mmseg matplotlib PIL tqdm rich'.split():
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Blocker())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.parametrize('name, options', [('predict', ['images']), ('export_triton', [])])
def test_nothing_but_the_runtime_is_needed(root, artefact, images, tmp_path, name, options):
    arguments = [root / 'tools' / f'{name}.py', artefact, *options, '--out', tmp_path / 'out']
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_FRAMEWORKS, *map(str, arguments)],
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'},
        cwd=tmp_path,  # from another folder than the checkout
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / 'out').iterdir())
