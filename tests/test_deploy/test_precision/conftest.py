"""Graphs to convert: small ones made by hand, and a detector in little with all that the rules speak of."""

import warnings

import numpy as np
import onnx
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from mmtrtvit.models import TRTViT


@pytest.fixture(scope='session')
def graph_of():
    """Make a graph with input ``x`` from nodes and initialisers (arrays by name)."""

    def make(nodes, initializers, outputs=('y',), shape=('n',), opset=17) -> onnx.ModelProto:
        graph = helper.make_graph(
            nodes,
            'graph',
            [helper.make_tensor_value_info('x', TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)

    return make


class LittleDetector(nn.Module):
    """TRT-ViT, proposals by top-k, features sampled at their centres, a second stage of linear layers."""

    def __init__(self) -> None:
        super().__init__()
        arch = dict(widths=(32, 32, 32, 64), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'))
        self.backbone = TRTViT(arch=arch, out_indices=(3,))
        self.neck = nn.Conv2d(self.backbone.out_channels[-1], 16, 1)
        self.scores = nn.Conv2d(16, 1, 1)
        self.sizes = nn.Conv2d(16, 2, 1)
        self.hidden = nn.Linear(16, 32)
        self.classes = nn.Linear(32, 5)

    def forward(self, image):
        features = self.neck(self.backbone(image)[0])
        best, index = self.scores(features).flatten(1).sigmoid().topk(4, dim=1)
        sizes = self.sizes(features).flatten(2).exp().gather(2, index.unsqueeze(1).expand(-1, 2, -1))
        centre = torch.stack([(index % 3).float() / 3, sizes[:, 0].tanh()], dim=-1)
        sampled = F.grid_sample(features, centre.unsqueeze(1), align_corners=False).squeeze(2).transpose(1, 2)
        classes = self.classes(self.hidden(sampled).relu())
        return torch.cat([sizes.transpose(1, 2), best.unsqueeze(-1)], dim=-1), classes.softmax(-1)


@pytest.fixture(scope='session')
def detector(tmp_path_factory) -> onnx.ModelProto:
    """:class:`LittleDetector` with batch, height and width free."""
    torch.manual_seed(0)
    network = LittleDetector().eval()
    network.backbone.switch_to_deploy()
    path = tmp_path_factory.mktemp('detector') / 'detector.onnx'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            torch.randn(1, 3, 96, 96),
            str(path),
            opset_version=17,
            input_names=['image'],
            output_names=['boxes', 'classes'],
            dynamic_axes={'image': {0: 'batch', 2: 'height', 3: 'width'}},
            dynamo=False,
        )
    return onnx.load(path)


@pytest.fixture(scope='session')
def images() -> list[dict[str, np.ndarray]]:
    """Feeds for the detector, of two sizes."""
    numbers = np.random.default_rng(0)
    shapes = [(1, 3, 96, 96), (2, 3, 128, 64)]
    return [dict(image=numbers.normal(size=shape).astype(np.float32)) for shape in shapes]
