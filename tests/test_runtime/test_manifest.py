"""A manifest that says too little, or too much, is refused by name."""

import hashlib
import json

import pytest

from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.manifest import FORMAT, listed_files, read_manifest, sealed, write_manifest

CONTENT = {
    'method': 'MaskRCNN',
    'task': 'instance',
    'backend': 'onnxruntime',
    'precision': 'fp32',
    'flavour': 'native',
    'engine': 'end2end.onnx',
    'inputs': {'input': {'dtype': 'float32', 'shape': ['batch', 3, -1, 640]}},
    'outputs': {'dets': {'dtype': 'float32', 'shape': ['batch', 100, 5]}},
    'profiles': {'input': {'min': [1, 3, 64, 64], 'opt': [1, 3, 64, 64], 'max': [8, 3, 640, 640]}},
    'preprocessing': {
        'resize': {'rule': 'fit', 'width': 640, 'height': 480},
        'channels': 'rgb',
        'mean': [123.675, 116.28, 103],
        'std': [58.395, 57.12, 57],
        'pad': {'value': 0.0, 'divisor': 32, 'shape': None},
    },
    'postprocessing': {'mask_threshold': 0.5},
    'classes': ['cat', 'dog'],
    'palette': [[0, 0, 0], [255, 128, 0]],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'end2end.onnx').write_bytes(b'a network')
    write_manifest(tmp_path, CONTENT)
    return tmp_path


def change(folder, dotted, value=...):
    """Change what the manifest says, as someone who knows its hash."""
    manifest = json.loads((folder / 'manifest.json').read_text())
    *path, last = dotted.split('.')
    place = manifest
    for key in path:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    (folder / 'manifest.json').write_text(json.dumps(sealed(manifest)))


def test_what_was_written_is_read(folder):
    manifest = read_manifest(folder)
    assert manifest['format'] == FORMAT and {key: manifest[key] for key in CONTENT} == CONTENT
    change(folder, 'profiles')
    change(folder, 'preprocessing.resize', None)
    change(folder, 'preprocessing.pad.shape', [480, 640])
    change(folder, 'palette', [])
    assert read_manifest(folder)['preprocessing']['pad']['shape'] == [480, 640]


@pytest.mark.parametrize('key', [key for key in CONTENT if key not in ('profiles', 'postprocessing', 'preprocessing')])
def test_what_is_missing_is_named(folder, key):
    change(folder, key)
    with pytest.raises(DeployError, match=rf'manifest.json: {key} is missing'):
        read_manifest(folder)


@pytest.mark.parametrize(
    'key, value',
    [
        ('task', 'pose'),
        ('task', ['instance']),
        ('backend', 'ncnn'),
        ('backend', {'type': 'onnxruntime'}),
        ('precision', 'fp8'),
        ('flavour', 7),
        ('engine', '../end2end.onnx'),
        ('engine', '/etc/passwd'),
        ('engine', '..'),
        ('engine', 'a\\b'),
        ('engine', 'a\0b'),
        ('engine', 'a' * 256),
        ('engine', None),
        ('inputs', {'input': {'dtype': 'float32', 'shape': [None]}}),
        ('outputs', []),
        ('classes', 'cat'),
        ('classes', [1, 2]),
        ('palette', [[0, 0, 256]]),
        ('palette', [[0, 0]]),
        ('profiles', {'input': {'min': [1]}}),
        ('profiles', {'input': {'min': [], 'opt': [], 'max': []}}),
        ('profiles', {'input': {'min': [0, 3, 8, 8], 'opt': [1, 3, 8, 8], 'max': [1, 3, 8, 8]}}),
        ('profiles', {'input': {'min': [1, 3, 8, 8], 'opt': [1, 3, 9, 8], 'max': [1, 3, 8, 8]}}),
        ('profiles', {'input': [1, 3, 8, 8]}),
        ('preprocessing', None),
        ('preprocessing.resize', {'rule': 'other', 'width': 1, 'height': 1}),
        ('preprocessing.resize', {'rule': 'fit', 'width': 0, 'height': 1}),
        ('preprocessing.resize', {'rule': 'fit', 'width': 1, 'height': 10**30}),
        ('preprocessing.channels', 'rbg'),
        ('preprocessing.mean', [1, 2]),
        ('preprocessing.mean', [1, 2, float('nan')]),
        ('preprocessing.mean', [1, 2, float('-inf')]),
        ('preprocessing.mean', [10**400, 0, 0]),
        ('preprocessing.std', [1, 0, 1]),
        ('preprocessing.std', [1, True, 1]),
        ('preprocessing.std', [1, 1e-300, 1]),
        ('preprocessing.pad', {'value': 0, 'divisor': 0, 'shape': None}),
        ('preprocessing.pad', {'value': 0, 'divisor': 1, 'shape': [1]}),
        ('preprocessing.pad', {'value': 0, 'divisor': 1}),
        ('preprocessing.pad', {'value': -(10**400), 'divisor': 1, 'shape': None}),
        ('preprocessing.pad', {'value': 0, 'divisor': 10**30, 'shape': None}),
        ('preprocessing.pad', {'value': 0, 'divisor': 1, 'shape': [10**30, 1]}),
        ('postprocessing.mask_threshold', -1),
        ('postprocessing', 'import os'),
    ],
)
def test_what_has_no_meaning_is_named(folder, key, value):
    change(folder, key, value)
    with pytest.raises(DeployError, match=rf'manifest.json: {key.split(".")[0]}.* (is|is missing)') as caught:
        read_manifest(folder)
    assert str(caught.value).count('Fix') == 1


def test_an_engine_that_is_not_listed(folder):
    (folder / 'other.onnx').write_bytes(b'another network')
    change(folder, 'engine', 'other.onnx')
    with pytest.raises(DeployError, match='engine other.onnx is not among its files'):
        read_manifest(folder)


@pytest.mark.parametrize(
    'name', ['../outside.bin', '/etc/hostname', 'sub/inside.bin', '..', '', 'a' * 256, 'ä' * 128, '\ud800', 'a\nb']
)
def test_files_outside_of_the_folder(folder, name):
    (folder.parent / 'outside.bin').write_bytes(b'secret')
    (folder / 'sub').mkdir()
    (folder / 'sub' / 'inside.bin').write_bytes(b'x')
    files = json.loads((folder / 'manifest.json').read_text())['files']
    change(folder, 'files', {**files, name: {'bytes': 6, 'sha256': '0' * 64}})
    with pytest.raises(DeployError, match='names the file .* which is not in its folder'):
        read_manifest(folder)


@pytest.mark.parametrize('files', [[], 7, {'end2end.onnx': 7}, {'end2end.onnx': {'bytes': 9}}, None])
def test_a_list_of_files_that_is_none(folder, files):
    change(folder, 'files', files)
    with pytest.raises(DeployError, match='is not a manifest|end2end.onnx'):
        read_manifest(folder)


def test_depth_without_end(folder):
    (folder / 'manifest.json').write_text('[' * 100000)
    with pytest.raises(DeployError, match='is not a manifest'):
        read_manifest(folder)


@pytest.mark.parametrize(
    'key, value',
    [
        ('preprocessing.mean', [0, 0, 0]),
        ('classes', ['dog', 'cat']),
        ('postprocessing.mask_threshold', 0.9),
        ('sha256', '0' * 64),
        ('sha256', None),
        ('sha256', ...),
        ('note', 'a new key'),
    ],
)
def test_a_manifest_that_was_edited(folder, key, value):
    manifest = read_manifest(folder)
    *path, last = key.split('.')
    place = manifest[path[0]] if path else manifest
    if value is ...:
        del place[last]
    else:
        place[last] = value
    (folder / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(DeployError, match='manifest.json is not as it was written') as caught:
        read_manifest(folder)
    assert str(caught.value).count('Fix') == 1


def test_how_it_is_written_does_not_matter(folder):
    """The hash is of what it says: neither of the order of keys nor of spaces."""
    manifest = read_manifest(folder)
    (folder / 'manifest.json').write_text(json.dumps(dict(reversed(manifest.items())), separators=(',', ':')))
    assert read_manifest(folder) == manifest


def test_the_hash_is_one_that_others_can_compute():
    digest = hashlib.sha256(b'{"a":[1,2.5],"b":null}').hexdigest()
    assert sealed({'b': None, 'a': [1, 2.5], 'sha256': 'another'}) == {'a': [1, 2.5], 'b': None, 'sha256': digest}


def test_files_that_a_manifest_lists(folder, tmp_path_factory):
    assert listed_files(folder) == ['end2end.onnx']
    change(folder, 'format', 3)
    change(folder, 'files', {'a.bin': {}, '../b.bin': {}, '/etc/passwd': {}})
    assert listed_files(folder) == ['a.bin']
    for content in ('', '{', '[]', '{}', '{"files": 7}', '{"files": ["a.bin"]}', '[' * 100000):
        (folder / 'manifest.json').write_text(content)
        assert listed_files(folder) == []
    assert listed_files(tmp_path_factory.mktemp('empty')) == []
