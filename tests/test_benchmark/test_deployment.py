"""Proofs side by side: what is asked for is checked, and the table says what the rows say."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.apis import load_config
from mmtrtvit.benchmark.deployment import benchmark_deployment
from mmtrtvit.benchmark.tables import deployment_table, engines_table
from mmtrtvit.benchmark.tables.deployment import either, in_order
from mmtrtvit.deploy.proof.images import sample_images
from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.errors import ConfigError
from mmtrtvit.testing.untrained import SPREAD, spread_outputs

ABOUT = dict(family='trtvit', method='maskrcnn', arch='c', backend='openvino', precision='bf16', images=4, size=320)


@pytest.mark.parametrize(
    'options',
    [dict(archs=['z']), dict(methods=['yolo']), dict(family='resnet', archs=['50']), dict(family='resnet')],
    ids=str,
)
def test_networks_without_a_config_are_refused(root, tmp_path, options):
    with pytest.raises(ConfigError, match='There is no config of'):
        benchmark_deployment(root, str(tmp_path / 'out'), **options)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('option', ['images', 'size', 'threads'])
def test_numbers_without_a_meaning_are_refused(root, tmp_path, option):
    with pytest.raises(ConfigError, match=f'--{option} 0 has no meaning'):
        benchmark_deployment(root, str(tmp_path / 'out'), **{option: 0})
    assert not (tmp_path / 'out').exists()


def test_the_table_says_what_the_rows_say():
    parity = dict(detections=800, same=799, ties=1)
    row = dict(
        ABOUT, passed=False, parity=parity, nodes=1465, latency={'PyTorch': 210.4, 'artefact': 99.6}, steady=False
    )
    refused = dict(ABOUT, arch='d', error='Something is wrong.\nExpected: something else')
    machine = dict(processor='A processor', torch_threads=1)
    text = deployment_table({'rows': [dict(row, latency_ratio=2.11), refused], 'machine': [machine]})
    first, second = text.splitlines()[2:4]
    for said in ('Mask R-CNN, TRT-ViT-C', 'OpenVINO', 'BF16', 'FAIL', '799 of 800, 1 near ties', '1465', '210 / 100'):
        assert said in first
    assert '2.11 (u)' in first and 'Something is wrong.' in second and 'something else' not in second
    assert 'A processor' in text and '4 images' in text
    assert 'tools/benchmark.py deployment' in deployment_table(None)


def test_engines_have_a_table_of_their_own():
    engine = dict(
        package='tensorrt_rtx',
        version='1.7.1',
        targets=[],
        profiles={'input': [[1, 3, 320, 320], [1, 3, 800, 1344], [1, 3, 1344, 1344]]},
        seconds={'parse': 1.5, 'build': 20.7},
        activation_bytes=927_100_000,
        share_of_layers={'float16': 0.35, 'float32': 0.65},
        layers=586,
    )
    row = dict(ABOUT, passed=True, parity=dict(pixels=100, same=98), nodes=1234, latency={}, latency_ratio=None)
    built = dict(row, backend='tensorrt-rtx', precision='fp16', engine=engine, engine_bytes=103_640_000, steady=True)
    refused = dict(ABOUT, arch='a', backend='tensorrt-rtx', precision='int8', error='Cannot be built.\nExpected: more')
    result = {'rows': [built, dict(row, steady=True, engine=None), refused], 'machine': [dict(processor='A processor')]}
    text = engines_table(result)
    first, second = text.splitlines()[2:4]
    assert 'TRT-ViT-A' in first and 'Cannot be built.' in first, 'rows stand in the order of the sizes'
    for said in (
        'Mask R-CNN, TRT-ViT-C',
        'FP16',
        '| 22 |',
        '| 103.6 |',
        '| 927 |',
        '| 586 |',
        '35%',
        'PASS',
        '98 of 100',
    ):
        assert said in second
    assert 'TensorRT for RTX 1.7.1' in text and '1 x 3 x 1344 x 1344' in text and 'OpenVINO' not in text
    result['machine'][0]['torch_threads'] = 1
    assert 'OpenVINO' in deployment_table(result) and 'FP16' not in deployment_table(result)
    assert 'tensorrt-rtx' in engines_table({'rows': [], 'machine': []})


def test_the_values_of_a_setting_are_named_once():
    assert either([dict(images=8), dict(images=28), dict(images=4), dict(images=8)], 'images') == '4 or 8 or 28'
    assert either([dict(size=None), dict(size=320)], 'size') == "320 or the config's own"


def test_rows_stand_in_the_order_of_networks_backends_and_precisions():
    made = [
        dict(ABOUT, arch=arch, backend=backend, precision=precision)
        for arch, backend, precision in [
            ('b', 'onnxruntime', 'fp32'),
            ('a', 'openvino', 'int8'),
            ('a', 'openvino', 'fp32'),
            ('a', 'onnxruntime', 'int8'),
            ('a', 'onnxruntime', 'fp16'),
        ]
    ]
    assert in_order(made) == [made[4], made[3], made[2], made[1], made[0]]


@pytest.mark.parametrize('method', ['maskrcnn', 'semfpn'])
def test_outputs_of_an_untrained_network_get_the_spread(method, toy, toy_seg):
    config = load_config(toy.config if method == 'maskrcnn' else toy_seg.config)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    images = sample_images(config, 3)
    spread_outputs(model, config, images)
    name = 'rpn_head.rpn_cls' if method == 'maskrcnn' else 'decode_head.conv_seg'
    layer = dict(model.named_modules())[name]
    found = []
    layer.register_forward_hook(lambda layer, _, output: found.append(output))
    reference = Reference(model.eval(), config)
    with torch.no_grad():
        for image in images:
            features = model.extract_feat(torch.from_numpy(reference.input(image)))
            model.rpn_head(features) if method == 'maskrcnn' else model.decode_head(features)
    values = torch.cat([output.flatten() for output in found])
    assert 0.3 * SPREAD[name][0] < values.std() < 3 * SPREAD[name][0]
