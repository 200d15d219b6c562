"""An artefact that is incomplete, changed or broken is refused, and one that was moved is not."""

import json
import shutil

import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy import compare_detections, load
from mmtrtvit.deploy.proof.reference import Reference, build_pytorch_model
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.manifest import read_manifest, sha256, versions, write_manifest
from mmtrtvit.runtime.preprocess import read_image


@pytest.fixture
def copy(deployed, tmp_path):
    return shutil.copytree(deployed.folder, tmp_path / 'copied')


def test_it_can_be_moved(copy, deployed):
    manifest = load(copy).manifest
    assert manifest == deployed.manifest
    assert manifest['method'] == 'MaskRCNN' and manifest['backend'] == 'onnxruntime'


def test_it_finds_what_pytorch_finds(copy, toy, toy_checkpoint):
    config = load_config(toy.config)
    with quiet():
        reference = Reference(build_pytorch_model(config, str(toy_checkpoint)), config)
    predict = load(copy, threads=1)
    parity = compare_detections((reference(read_image(path)), predict(path)) for path in toy.images)
    assert parity.detections > 100 and parity.passed and parity.masks.mean < 0.001, parity


@pytest.mark.parametrize('name', ['end2end.onnx', 'model_config.json', 'pipeline.json'])
def test_a_changed_or_missing_file(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-10])
    with pytest.raises(DeployError, match=rf'{name} is not the file that was exported \(size or hash differs\)'):
        load(copy)
    (copy / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DeployError, match=f'{name} is not the file that was exported'):
        load(copy)
    (copy / name).unlink()
    with pytest.raises(DeployError, match=f'{name} is missing'):
        load(copy)


def test_an_onnx_file_that_is_none_under_a_true_manifest(copy, deployed):
    (copy / 'end2end.onnx').write_text('not ONNX')
    write_manifest(copy, {key: value for key, value in deployed.manifest.items() if key != 'files'})
    with pytest.raises(DeployError, match='onnxruntime .* cannot load .*end2end.onnx'):
        load(copy)


def test_a_graph_that_the_backend_cannot_load(copy, monkeypatch):
    import onnxruntime

    def refuse(*_, **__):
        raise RuntimeError('no kernel for this\nand a long trace')

    monkeypatch.setattr(onnxruntime, 'InferenceSession', refuse)
    with pytest.raises(
        DeployError, match='onnxruntime .* cannot load .*end2end.onnx: no kernel for this\n.*export again'
    ):
        load(copy)


def test_no_manifest(copy, tmp_path):
    (copy / 'manifest.json').unlink()
    for folder in (copy, tmp_path / 'nowhere'):
        with pytest.raises(DeployError, match='holds no exported artefact: there is no manifest.json'):
            load(folder)


@pytest.mark.parametrize('content', ['', '[]', '{"format": 1}', '{"format": 1, "files": ', '\udcff'])
def test_a_manifest_that_is_none(tmp_path, content):
    (tmp_path / 'manifest.json').write_bytes(content.encode('utf-8', 'surrogateescape'))
    with pytest.raises(DeployError, match='is not a manifest'):
        read_manifest(tmp_path)


def test_a_manifest_of_another_format(tmp_path):
    (tmp_path / 'manifest.json').write_text(json.dumps({'format': 6, 'files': {}}))
    with pytest.raises(DeployError, match='has format 6; this version of mmtrtvit reads the formats 4 and 5'):
        read_manifest(tmp_path)


def test_every_file_is_listed_but_the_manifest_itself(tmp_path):
    (tmp_path / 'a.bin').write_bytes(b'abc')
    (tmp_path / 'manifest.json').write_text('an old one')
    manifest = write_manifest(tmp_path, {'backend': 'onnxruntime'})
    hash_of_abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert (
        manifest['files'] == {'a.bin': {'bytes': 3, 'sha256': hash_of_abc}}
        and sha256(tmp_path / 'a.bin') == hash_of_abc
    )
    assert manifest['backend'] == 'onnxruntime' and json.loads((tmp_path / 'manifest.json').read_text()) == manifest


def test_versions_name_the_distributions():
    import onnxruntime

    from mmtrtvit.version import __version__

    found = versions()
    assert found['mmtrtvit'] == f'mmtrtvit {__version__}'
    assert found['onnxruntime'].endswith(onnxruntime.__version__) and 'mmdeploy' in found
