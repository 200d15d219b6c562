"""Proofs side by side: what is asked for is checked, and the table says what the rows say."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.apis import load_config
from mmtrtvit.benchmark.deployment import benchmark_deployment
from mmtrtvit.benchmark.spread import SPREAD, spread_outputs
from mmtrtvit.benchmark.tables import deployment_table
from mmtrtvit.deploy.inference import input_of, sample_images
from mmtrtvit.errors import ConfigError

ABOUT = dict(family='trtvit', method='maskrcnn', arch='c', backend='openvino', precision='bf16', images=4, size=320)


@pytest.mark.parametrize(
    'options', [dict(archs=['z']), dict(methods=['yolo']), dict(family='resnet', archs=['50'])], ids=str
)
def test_networks_without_a_config_are_refused(root, tmp_path, options):
    with pytest.raises(ConfigError, match='There is no config of'):
        benchmark_deployment(root, str(tmp_path / 'out'), **options)
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
    model.eval()
    with torch.no_grad():
        for image in images:
            features = model.extract_feat(torch.from_numpy(input_of(model, image, config)))
            model.rpn_head(features) if method == 'maskrcnn' else model.decode_head(features)
    values = torch.cat([output.flatten() for output in found])
    assert 0.3 * SPREAD[name][0] < values.std() < 3 * SPREAD[name][0]
