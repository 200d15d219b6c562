"""Untrained networks: their outputs get the spread that makes an export worth comparing."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.proof.images import sample_images
from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.testing import spread_outputs
from mmtrtvit.testing.untrained import SPREAD


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
