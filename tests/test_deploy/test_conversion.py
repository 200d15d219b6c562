"""A checkpoint becomes an artefact that is whole, portable, and the same network."""

import copy
import hashlib
import itertools
import json
import shutil

import cv2
import onnx
import pytest
import torch

from mmtrtvit.apis import evaluate, evaluate_artefact, load_config
from mmtrtvit.deploy import compare_detections, conversion, deploy, load
from mmtrtvit.deploy.export import onnx_export, sdk
from mmtrtvit.deploy.export.input_shapes import input_shapes
from mmtrtvit.deploy.export.onnx_graph import operators
from mmtrtvit.deploy.proof.reference import Reference, build_pytorch_model
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.errors import CheckpointError, ConfigError, DataError, DeployError
from mmtrtvit.runtime import Predictor

FILES = {
    'end2end.onnx',
    'manifest.json',
    'deploy_report.json',
    'deploy_report.md',
    'visual_check.png',
    'model_config.json',
    'deploy_config.json',
    'deploy.json',
    'detail.json',
    'pipeline.json',
}


@pytest.fixture(scope='module')
def model(toy, toy_checkpoint):
    """The network in PyTorch."""
    with quiet():
        return build_pytorch_model(load_config(toy.config), str(toy_checkpoint))


@pytest.fixture(scope='module')
def both(toy, model, deployed):
    """The network in PyTorch and the artefact in its folder, as functions of an image."""
    return Reference(model, load_config(toy.config)), load(deployed.folder)


@pytest.fixture(scope='module')
def picture(toy):
    """A photograph with shapes, cut and scaled to any size (height, width)."""
    source = cv2.imread(str(toy.images[0]))

    def resized(height, width, number=0):
        image = cv2.imread(str(toy.images[number])) if number else source
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    return resized


@pytest.fixture
def no_tracing(monkeypatch, deployed):
    """Take the ONNX file that is there already in place of the slow trace."""

    def copy(image, folder, name, *_, **__):
        shutil.copy(deployed.folder / 'end2end.onnx', f'{folder}/{name}')

    monkeypatch.setattr(onnx_export, 'torch2onnx', copy)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def assert_same_detections(pairs):
    parity = compare_detections(pairs)
    assert parity.detections >= 20 * parity.images, parity
    # the last place of an image is taken by either of two detections whose scores differ in the last bit
    assert parity.same >= parity.detections - parity.images and parity.extra <= parity.images, parity
    assert parity.masks.mean < 1e-3, parity
    return parity


def test_the_folder_holds_the_artefact_and_what_was_there_before(deployed):
    assert {path.name for path in deployed.folder.iterdir()} == FILES | {'notes.txt'}
    assert (deployed.folder / 'notes.txt').read_text() == 'keep me'


def test_the_manifest_tells_the_truth(deployed, toy, toy_checkpoint):
    manifest = json.loads((deployed.folder / 'manifest.json').read_text())
    assert manifest == deployed.manifest
    assert set(manifest['files']) == FILES - {'manifest.json'}
    found = hashes(deployed.folder)
    for name, said in manifest['files'].items():
        assert said == {'bytes': (deployed.folder / name).stat().st_size, 'sha256': found[name]}
    assert manifest['source'] == dict(
        model_config=toy.config.name,
        deploy_config='instance-seg_onnxruntime_dynamic.py',
        checkpoint=toy_checkpoint.name,
        checkpoint_sha256=hashlib.sha256(toy_checkpoint.read_bytes()).hexdigest(),
    )
    assert manifest['inputs'] == {'input': {'dtype': 'float', 'shape': ['batch', 3, 'height', 'width']}}
    assert list(manifest['outputs']) == ['dets', 'labels', 'masks']
    assert manifest['classes'] == list(load_config(toy.config).metainfo.classes)
    assert (manifest['backend'], manifest['precision'], manifest['opset']) == ('onnxruntime', 'fp32', 17)
    for module in ('python', 'torch', 'mmengine', 'mmcv', 'mmdet', 'mmdeploy', 'onnx', 'onnxruntime', 'mmtrtvit'):
        assert manifest['versions'][module]


def test_the_preprocessing_in_it_is_the_models_own(deployed, toy):
    preprocessor = load_config(toy.config).model.data_preprocessor
    said = deployed.manifest['preprocessing']
    assert said['resize'] == dict(rule='edges', width=128, height=128)
    assert (said['mean'], said['std'], said['channels']) == (preprocessor.mean, preprocessor.std, 'rgb')
    assert said['pad'] == dict(value=0.0, divisor=32, shape=None)


def test_the_graph_has_standard_operators_only(deployed, model):
    graph = onnx.load(deployed.folder / 'end2end.onnx')
    onnx.checker.check_model(graph, full_check=True)
    found = operators(graph)
    assert deployed.manifest['operators'] == dict(found)
    layer_norms = [part for part in model.modules() if isinstance(part, torch.nn.LayerNorm)]
    assert found['LayerNormalization'] == len(layer_norms) == 2 * 2  # two Transformer layers
    assert not {'BatchNormalization', 'Loop', 'If', 'Scan'} & set(found)
    assert {opset.domain for opset in graph.opset_import} <= {'', 'ai.onnx'}
    assert found['RoiAlign'] == 8 and found['NonMaxSuppression'] == 2  # four levels for boxes, four for masks


def test_the_proof_is_reported(deployed):
    report = json.loads((deployed.folder / 'deploy_report.json').read_text())
    assert report['proof'] == json.loads(json.dumps(deployed.proof.to_dict())) == deployed.manifest['proof']
    parity = deployed.proof.parity
    assert parity.images == 3 and parity.detections >= 200
    assert deployed.proof.passed and parity.same == parity.detections
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(deployed.proof.metrics)
    page = (deployed.folder / 'deploy_report.md').read_text()
    assert 'PASS' in page and str(parity.detections) in page and 'Not measured' not in page.split('## Latency')[0]


def test_visual_check_can_be_looked_at(deployed):
    image = cv2.imread(str(deployed.folder / 'visual_check.png'))
    height, width = image.shape[:2]
    assert height > width > 800  # three images, PyTorch beside ONNX Runtime
    assert image[:, : width // 2].std() > 10 and image[:, width // 2 :].std() > 10


@pytest.mark.parametrize('size', [(51, 77), (128, 128), (200, 90), (33, 300), (480, 640)], ids=lambda size: f'{size}')
def test_images_of_any_size(both, picture, size):
    assert_same_detections([tuple(find(picture(*size)) for find in both)])


def test_another_scale_than_the_one_exported_at(toy, model, deployed, picture):
    config = load_config(toy.config, {'test_dataloader.dataset.pipeline.1.scale': (333, 211)})
    described = copy.deepcopy(deployed.manifest)
    described['preprocessing']['resize'] |= dict(width=333, height=211)
    both = Reference(model, config), Predictor(described, load(deployed.folder).network)
    assert_same_detections([tuple(find(picture(300, 470)) for find in both)])


def test_black_rows_at_the_border_are_image(both, picture):
    image = picture(101, 123)
    image[70:] = 0
    image[:, 110:] = 0
    assert_same_detections([tuple(find(image) for find in both)])


def test_a_batch_of_images_of_different_size(both, picture):
    reference, predict = both
    images = [picture(51, 77), picture(70, 100, 1), picture(60, 95, 2)]
    sizes = {reference.prepare(image)['data_samples'].img_shape for image in images}
    shapes = {reference.input(image).shape for image in images}
    assert len(sizes) == 3 and len(shapes) == 1, 'they go through the network together'
    ours, theirs = [reference(image) for image in images], predict(images)
    assert_same_detections(zip(ours, theirs, strict=True))
    # each image has detections of its own: those of another would not do
    assert all(abs(a.boxes[:10] - b.boxes[:10]).max() > 5 for a, b in itertools.combinations(ours, 2))
    for image, found in zip(images, theirs, strict=True):
        assert len(found) > 0 and found.masks.shape[1:] == image.shape[:2]
        assert found.boxes[:, 2].max() <= image.shape[1] + 1e-3 and found.boxes[:, 3].max() <= image.shape[0] + 1e-3


STATIC = """
_base_ = {base!r}
onnx_config = dict(input_shape=(160, 96))
"""


def test_a_fixed_shape(toy, toy_checkpoint, root, annotate, tmp_path):
    config = tmp_path / 'static.py'
    config.write_text(
        STATIC.format(base=str(root / 'configs' / 'deploy' / 'instance-seg_onnxruntime_static-800x1344.py'))
    )
    manifest, proof = deploy(
        toy.config,
        str(toy_checkpoint),
        deploy_cfg=config,
        work_dir=tmp_path / 'artefact',
        image=str(toy.images[1]),
        timed=False,
    )
    parity = proof.parity
    assert manifest['inputs']['input']['shape'] == [1, 3, 96, 160]
    assert parity.passed and parity.images == 1 and parity.detections >= 50
    # evaluated on the pipeline that it was made for, whatever the config says
    fitted = load_config(toy.config).test_dataloader.dataset.pipeline
    fitted[1] = dict(type='FitResize', scale=(160, 96))
    pipeline = {
        'test_dataloader.dataset.pipeline': fitted,
        'model.data_preprocessor.type': 'mmtrtvit.FixedShapeDetDataPreprocessor',
        'model.data_preprocessor.fixed_shape': (96, 160),
    }
    truth = {'test_evaluator.ann_file': str(annotate(pipeline))}
    theirs = evaluate_artefact(toy.config, str(tmp_path / 'artefact'), work_dir=str(tmp_path), cfg_options=truth)
    ours = evaluate(toy.config, str(toy_checkpoint), work_dir=str(tmp_path), cfg_options={**truth, **pipeline})
    other = evaluate(toy.config, str(toy_checkpoint), work_dir=str(tmp_path), cfg_options=truth)
    for name in ('coco/bbox_mAP', 'coco/segm_mAP'):
        assert theirs[name] == pytest.approx(ours[name], abs=0.002)
        assert other[name] < ours[name] - 0.01


def test_a_second_export_replaces_the_first_and_differences_are_found(
    toy, toy_run, dynamic_config, deployed, no_tracing, tmp_path
):
    """The graph that stands in for the traced one is of another checkpoint: it must not pass."""
    folder = tmp_path / 'artefact'
    shutil.copytree(deployed.folder, folder)
    checkpoint = toy_run / 'epoch_2.pth'
    manifest, proof = deploy(
        toy.config, str(checkpoint), deploy_cfg=dynamic_config, work_dir=folder, images=1, timed=False
    )
    assert not proof.passed and proof.parity.extra > 0 and manifest['proof']['passed'] is False
    assert {path.name for path in folder.iterdir()} == FILES | {'notes.txt'}
    assert manifest['source']['checkpoint'] == 'epoch_2.pth' and manifest['proof']['parity']['images'] == 1
    assert json.loads((folder / 'deploy_report.json').read_text())['proof'] == manifest['proof']
    assert load(folder).manifest == manifest


@pytest.mark.parametrize(
    'step, module, function',
    [
        ('export to ONNX', onnx_export, 'torch2onnx'),
        ('export to ONNX', onnx_export, 'simplify'),
        ('onnxruntime: make', conversion, 'make_engine'),
        ('compare', conversion, 'prove'),
        ('write report', sdk, 'export2SDK'),
    ],
)
def test_a_step_that_fails_leaves_nothing(
    step, module, function, toy, toy_checkpoint, dynamic_config, deployed, no_tracing, monkeypatch, tmp_path
):
    def fail(*_, **__):
        raise RuntimeError('the cat pulled the plug')

    monkeypatch.setattr(module, function, fail)
    fresh, old = tmp_path / 'fresh', tmp_path / 'old'
    shutil.copytree(deployed.folder, old)
    for folder in (fresh, old):
        with pytest.raises(DeployError, match=rf'Step \d of 7 \({step}.*RuntimeError: the cat pulled the plug'):
            deploy(toy.config, str(toy_checkpoint), deploy_cfg=dynamic_config, work_dir=folder, images=1, timed=False)
    assert list(fresh.iterdir()) == []
    assert hashes(old) == hashes(deployed.folder)
    load(old)


@pytest.mark.parametrize('wrapper', ['ConcatDataset', 'RepeatDataset'])
def test_data_sets_that_are_joined_or_repeated(toy, toy_checkpoint, no_tracing, tmp_path, wrapper):
    """One pipeline, that of the data sets inside, serves manifest, proof and export; the variable is not read."""
    config = load_config(toy.config)
    single = config.test_dataloader.dataset
    inner = dict(datasets=[single]) if wrapper == 'ConcatDataset' else dict(dataset=single, times=1)
    config.test_dataloader.dataset = dict(type=wrapper, **inner)
    config.test_pipeline[1].scale = (77, 55)
    config.dump(tmp_path / 'joined.py')
    manifest, proof = deploy(
        tmp_path / 'joined.py', str(toy_checkpoint), work_dir=tmp_path / 'artefact', images=2, timed=False
    )
    assert manifest['preprocessing']['resize'] == dict(rule='edges', width=128, height=128)
    assert proof.passed and proof.parity.images == 2 and proof.metrics, proof.failures
    written = json.loads((tmp_path / 'artefact' / 'pipeline.json').read_text())
    sizes = [step['size'] for step in written['pipeline']['tasks'][0]['transforms'] if step['type'] == 'Resize']
    assert sizes == [[128, 128]]


def test_what_only_the_earlier_artefact_had_goes(toy, toy_checkpoint, deployed, no_tracing, tmp_path):
    folder = tmp_path / 'artefact'
    shutil.copytree(deployed.folder, folder)
    assert (folder / 'pipeline.json').is_file()
    deploy(
        toy.config,
        str(toy_checkpoint),
        shapes=input_shapes('96x160'),
        work_dir=folder,
        image=str(toy.images[0]),
        timed=False,
    )
    # mmdeploy's SDK would read them beside a graph that they do not fit
    assert not {'deploy.json', 'detail.json', 'pipeline.json'} & {path.name for path in folder.iterdir()}
    assert (folder / 'notes.txt').read_text() == 'keep me'


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_a_fixed_batch_in_another_precision(toy, toy_checkpoint, no_tracing, tmp_path, precision):
    manifest, proof = deploy(
        toy.config,
        str(toy_checkpoint),
        precision=precision,
        shapes=input_shapes('96x160', batch=[2]),
        work_dir=tmp_path / 'artefact',
        image=str(toy.images[0]),
        timed=False,
    )
    assert manifest['inputs']['input']['shape'] == [2, 3, 96, 160]
    # INT8 costs this small network much
    assert proof.parity.detections >= 50 and proof.parity.same >= (0.9 if precision == 'fp16' else 0.3) * 50


@pytest.mark.slow
def test_weights_that_a_checkpoint_lacks_are_the_same_in_both(toy, toy_checkpoint, tmp_path):
    checkpoint = torch.load(toy_checkpoint, weights_only=False)
    lacking = {name: value for name, value in checkpoint['state_dict'].items() if 'fpn_convs' not in name}
    assert len(lacking) < len(checkpoint['state_dict'])
    torch.save({'model': lacking}, tmp_path / 'part.pth')  # as other trainings name it
    options = dict(work_dir=tmp_path / 'artefact', image=str(toy.images[0]), timed=False)
    with pytest.raises(CheckpointError, match='fpn_convs'):
        deploy(toy.config, str(tmp_path / 'part.pth'), **options)
    _, proof = deploy(toy.config, str(tmp_path / 'part.pth'), allow_mismatch=True, **options)
    assert proof.passed and proof.parity.detections >= 20, proof.parity


def test_input_is_checked_before_the_work_dir_is_touched(toy, toy_checkpoint, toy_run, dynamic_config, tmp_path):
    text = tmp_path / 'text.jpg'
    text.write_text('no image')
    other = {'model.roi_head.bbox_head.fc_out_channels': 32}
    options = dict(deploy_cfg=dynamic_config, work_dir=tmp_path / 'artefact')
    with pytest.raises(DataError, match='text.jpg cannot be read'):
        deploy(toy.config, str(toy_checkpoint), image=str(text), **options)
    with pytest.raises(DataError, match='There is no image'):
        deploy(toy.config, str(toy_checkpoint), image=str(tmp_path / 'none.jpg'), **options)
    with pytest.raises(ConfigError, match=r'96 x 150 for a network[\s\S]*--shape 96x160'):
        deploy(toy.config, str(toy_checkpoint), work_dir=tmp_path / 'artefact', shapes=input_shapes('96x150'))
    with pytest.raises(CheckpointError, match='a local file'):
        deploy(toy.config, 'https://example.org/weights.pth', **options)
    with pytest.raises(ConfigError, match='--search with --backend onnxruntime --precision fp32'):
        deploy(toy.config, str(toy_checkpoint), search=True, **options)
    with pytest.raises(CheckpointError, match='fc_cls.*\\[7, 64\\] -> \\[7, 32\\]'):
        deploy(toy.config, str(toy_checkpoint), cfg_options=other, **options)
    count = {'model.roi_head.bbox_head.num_classes': 7}
    with pytest.raises(DataError, match='bbox_head.num_classes=7, but the test data set has 6 classes'):
        deploy(toy.config, str(toy_checkpoint), cfg_options=count, **options)
    backwards = {'test_dataloader.dataset.metainfo.classes': load_config(toy.config).metainfo.classes[::-1]}
    with pytest.raises(DataError, match=r'trained on 6 classes \(disc[\s\S]*--allow-mismatch'):
        deploy(toy.config, str(toy_run / 'epoch_2.pth'), cfg_options=backwards, **options)
    unread = {'test_pipeline.1.scale': (64, 64)}
    with pytest.raises(
        ConfigError, match=r'nothing reads test_pipeline[\s\S]*test_dataloader.dataset.pipeline.1.scale'
    ):
        deploy(toy.config, str(toy_checkpoint), cfg_options=unread, **options)
    assert not (tmp_path / 'artefact').exists()
