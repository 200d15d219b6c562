"""Metadata for mmdeploy's SDK: each field that its C++ sources read, and what its real library makes of them."""

import copy
import json

import cv2
import numpy as np
import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy import deploy, load
from mmtrtvit.deploy.export.deploy_configs import make_deploy_config
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.export.fixed_size import follow_input_shape
from mmtrtvit.deploy.export.input_shapes import input_shapes
from mmtrtvit.deploy.export.sdk import export_sdk_metadata, why_sdk_cannot_follow
from mmtrtvit.deploy.proof.images import dataset_metainfo

SQUARE, ACROSS = input_shapes('128x128'), input_shapes('96x160')
RANGE = input_shapes(dynamic=['320x320', '800x1344', '1344x1344'], batch=[1, 1, 4])

INTERPOLATIONS = {'nearest', 'bilinear', 'bicubic', 'area', 'lanczos'}


class Resize:
    """Resize of csrc/mmdeploy/preprocess/transform/resize.cpp."""

    def __init__(self, settings):
        self.keep_ratio = settings.get('keep_ratio', False)
        width, height = settings['size'] if isinstance(settings['size'], list) else [settings['size']] * 2
        assert all(isinstance(side, int) for side in (width, height)) and isinstance(self.keep_ratio, bool)
        assert settings.get('interpolation', 'bilinear') in INTERPOLATIONS
        self.size = height, width

    def __call__(self, size):
        height, width = size
        if not self.keep_ratio:
            return self.size
        factor = np.float32(min(max(self.size) / max(size), min(self.size) / min(size)))
        return int(height * factor + 0.5), int(width * factor + 0.5)


class Pad:
    """Padding at the right and at the bottom, with 0, of pad.cpp."""

    def __init__(self, settings):
        assert 'size' not in settings and not settings.get('pad_val')
        self.divisor = settings['size_divisor']
        assert isinstance(self.divisor, int) and self.divisor >= 1

    def __call__(self, size):
        return tuple(-(-side // self.divisor) * self.divisor for side in size)


def read_as_the_sdk(folder):
    """Read both files as model.h, directory_model_impl.cpp, net_module.cpp, the transforms and the codebases do.

    Returns:
        The model of ``deploy.json``, the transforms that change sizes, the normalisation, and the postprocessing.
    """
    read = json.loads((folder / 'deploy.json').read_text())
    assert isinstance(read['version'], str)
    (model,) = read['models']
    kinds = dict(name=str, net=str, weights=str, backend=str, precision=str, batch_size=int, dynamic_shape=bool)
    assert {name: type(model[name]) for name in kinds} == kinds
    pipeline = json.loads((folder / 'pipeline.json').read_text())['pipeline']
    preprocess, net, postprocess = pipeline['tasks']
    assert [task['type'] for task in pipeline['tasks']] == ['Task'] * 3
    assert (preprocess['module'], net['module']) == ('Transform', 'Net')
    # the outputs of a task are the inputs of the next ones
    assert pipeline['input'] == preprocess['input'] and pipeline['output'] == postprocess['output']
    assert net['input'] == preprocess['output'] and postprocess['input'] == preprocess['output'] + net['output']
    assert net['name'] == model['name'] and net['input_map'] == {'img': 'input'} and net['output_map'] == {}
    sizes, normalise = [], None
    kinds = [transform['type'] for transform in preprocess['transforms']]
    assert kinds[0] == 'LoadImageFromFile' and kinds[-1] == 'Collect'
    assert kinds[-2] in ('DefaultFormatBundle', 'ImageToTensor')
    for transform in preprocess['transforms'][:-2]:
        if transform['type'] in ('Resize', 'Pad'):
            sizes.append(dict(Resize=Resize, Pad=Pad)[transform['type']](transform))
        elif transform['type'] == 'Normalize':
            assert len(transform['mean']) == len(transform['std']) == 3
            assert transform.get('to_float', True) is True
            normalise = transform
        else:
            assert transform == dict(type='LoadImageFromFile')
    collect = preprocess['transforms'][-1]
    assert collect['keys'] == ['img']
    assert {'ori_shape', 'img_shape', 'scale_factor'} <= set(collect['meta_keys'])
    return model, sizes, normalise, postprocess


@pytest.fixture
def metadata(toy, toy_seg, root, tmp_path):
    """Write the metadata for a task, and return it as the SDK reads it, with the description of the artefact."""

    def write(task, backend='onnxruntime', shapes=None, precision='fp32', **changes):
        path = {
            'instance': toy.config,
            'segmentation': toy_seg.config,
            'detection': root / 'configs' / 'retinanet_trtvit_a_toy.py',
        }[task]
        if task == 'segmentation':  # the SDK cannot follow one that pads
            changes['model.data_preprocessor.test_cfg'] = None
        config = follow_input_shape(load_config(path, changes), shapes)
        description = describe_model(config, dataset_metainfo(config), shapes and shapes.size)
        assert not why_sdk_cannot_follow(description, shapes)
        before = copy.deepcopy(config)
        export_sdk_metadata(
            config,
            make_deploy_config(task, backend, 'native', shapes),
            description,
            'end2end.engine',
            precision,
            '/home/me/epoch_12.pth',
            tmp_path,
        )
        assert config.to_dict() == before.to_dict()
        return *read_as_the_sdk(tmp_path), description

    return write


@pytest.mark.parametrize('task', ['detection', 'instance', 'segmentation'])
@pytest.mark.parametrize(
    'backend, shapes, file',
    [
        ('onnxruntime', None, ('onnxruntime', 'end2end.onnx')),
        ('openvino', None, ('onnxruntime', 'end2end.onnx')),
        ('tensorrt', RANGE, ('tensorrt', 'end2end.engine')),
        ('tensorrt-rtx', RANGE, ('onnxruntime', 'end2end.onnx')),
    ],
)
def test_every_field_is_what_the_sdk_reads(metadata, task, backend, shapes, file):
    model, sizes, normalise, postprocess, description = metadata(task, backend, shapes, 'fp16')
    assert (model['backend'], model['net']) == file and model['batch_size'] == 1 and model['precision'] == 'FP16'
    preprocessing = description['preprocessing']
    assert (normalise['mean'], normalise['std']) == (preprocessing['mean'], preprocessing['std'])
    assert normalise['to_rgb'] is (preprocessing['channels'] == 'rgb')
    resize = preprocessing['resize']
    assert sizes[0].size == (resize['height'], resize['width']) and sizes[0].keep_ratio is (resize['rule'] == 'edges')
    assert [pad.divisor for pad in sizes[1:]] == ([] if task == 'segmentation' else [preprocessing['pad']['divisor']])
    params = postprocess['params']
    if task == 'segmentation':
        assert (postprocess['module'], postprocess['component']) == ('mmseg', 'ResizeMask')
        assert params['num_classes'] == len(description['classes']) and params['with_argmax'] is False
        return
    assert postprocess['module'] == 'mmdet' and params['score_thr'] == 0.05 and params['min_bbox_size'] <= 0
    assert postprocess['component'] == ('ResizeInstanceMask' if task == 'instance' else 'ResizeBBox')
    if task == 'instance':
        assert 'rcnn' in params and params['is_resize_mask'] is True
        assert params['mask_thr_binary'] == description['postprocessing']['mask_threshold']


@pytest.mark.parametrize('task', ['detection', 'instance'])
@pytest.mark.parametrize('size', [(100, 301), (301, 100), (77, 77), (640, 427)])
def test_every_image_fills_a_square_input(metadata, task, size):
    _, sizes, _, _, _ = metadata(task, shapes=SQUARE)
    for change in sizes:
        size = change(size)
    assert size == (128, 128)


def test_channels_that_stay_blue_first(metadata):
    _, _, normalise, _, description = metadata('detection', **{'model.data_preprocessor.bgr_to_rgb': False})
    assert description['preprocessing']['channels'] == 'bgr' and normalise['to_rgb'] is False


def test_no_path_of_this_machine_is_written(metadata, tmp_path):
    metadata('detection')
    assert json.loads((tmp_path / 'detail.json').read_text())['codebase']['pth'] == 'epoch_12.pth'


def described(task='detection', **preprocessing):
    resize = dict(rule='edges', width=1333, height=800)
    pad = dict(value=0.0, divisor=1 if task == 'segmentation' else 32, shape=None)
    return dict(task=task, preprocessing={**dict(resize=resize, pad=pad), **preprocessing})


FIT = dict(rule='fit', width=160, height=96)
CLASSIFIER = dict(
    resize=dict(rule='short', width=256, height=256), crop=[224, 224], pad=dict(value=0.0, divisor=1, shape=[224, 224])
)


@pytest.mark.parametrize(
    'description, shapes, reason',
    [
        (described('segmentation') | dict(window=dict(size=[64, 64], stride=[43, 43])), None, 'slides no window'),
        (described(), input_shapes('128x128', batch=[2, 2, 2]), 'one image at a time'),
        (described('segmentation', pad=dict(value=0.0, divisor=32, shape=None)), None, 'stretches the padding'),
        (described('segmentation', pad=dict(value=0.0, divisor=1, shape=[64, 64])), SQUARE, 'stretches the padding'),
        (described('segmentation', resize=None), None, 'a segmentor that resizes'),
        (described(pad=dict(value=114.0, divisor=32, shape=None)), None, 'pads with 0'),
        (described(resize=None, pad=dict(value=0.0, divisor=32, shape=[96, 160])), ACROSS, 'not resized to fit'),
        (described(resize=FIT, pad=dict(value=0.0, divisor=32, shape=[96, 160])), ACROSS, 'an upright image'),
    ],
)
def test_what_it_cannot_follow(description, shapes, reason):
    assert reason in why_sdk_cannot_follow(description, shapes)


def test_a_classifier():
    assert not why_sdk_cannot_follow(described('classification', **CLASSIFIER), input_shapes('224x224'))
    across = {**CLASSIFIER, 'crop': [192, 224]}
    assert 'squares' in why_sdk_cannot_follow(described('classification', **across), None)


@pytest.mark.slow
@pytest.mark.skipif(np.__version__ >= '2', reason='mmdeploy-runtime 1.3.1 returns wrong labels with NumPy 2')
@pytest.mark.parametrize('method, shapes', [('retinanet', SQUARE), ('fasterrcnn', None), ('semfpn', None)])
def test_the_real_library_finds_what_the_runtime_finds(networks, toy, tmp_path, method, shapes):
    """mmdeploy's C++ library, with an ONNX Runtime of its own; upright images and images across.

    Not Mask R-CNN: 1.3.1 reads its boxes before they are copied.
    """
    runtime = pytest.importorskip('mmdeploy_runtime', reason='no mmdeploy-runtime 1.3.1 (mmdeploy SDK) is installed')
    config, checkpoint = networks[method]
    options = {'model.data_preprocessor.test_cfg': None} if method == 'semfpn' else {}
    deploy(config, str(checkpoint), work_dir=tmp_path, shapes=shapes, images=1, timed=False, cfg_options=options)
    image = cv2.imread(str(toy.images[0]))[:181]
    for picture in (image, np.ascontiguousarray(image.transpose(1, 0, 2))):
        ours = load(tmp_path)(picture)
        if method == 'semfpn':
            theirs = runtime.Segmentor(model_path=str(tmp_path), device_name='cpu', device_id=0)(picture)
            assert np.mean(theirs.argmax(0) == ours.labels) > 0.999
            continue
        boxes, labels, _ = runtime.Detector(model_path=str(tmp_path), device_name='cpu', device_id=0)(picture)
        assert len(boxes) == len(ours.boxes) > 10
        np.testing.assert_array_equal(labels, ours.labels)
        np.testing.assert_allclose(boxes[:, 4], ours.scores, atol=1e-4)
        # it clips to the width and the height minus 1
        limits = [picture.shape[1] - 1, picture.shape[0] - 1] * 2
        np.testing.assert_allclose(boxes[:, :4], np.minimum(ours.boxes, limits), atol=1e-2)
