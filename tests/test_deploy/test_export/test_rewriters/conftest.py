"""Modules exported in either flavour, as the whole networks are."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmdeploy.apis.onnx import export as export_onnx
from mmengine.config import Config

from mmtrtvit.deploy.export.mmdeploy_patches import LOWEST_OPSET
from mmtrtvit.deploy.export.onnx_graph import operators
from mmtrtvit.deploy.steps import quiet

FREE = {0: 'batch', 2: 'height', 3: 'width'}


@dataclasses.dataclass
class Graph:
    """An exported module, run by ONNX Runtime."""

    path: str
    model: onnx.ModelProto
    session: onnxruntime.InferenceSession

    @property
    def operators(self) -> dict[str, int]:
        return operators(self.model)

    def __call__(self, *inputs: torch.Tensor) -> list[np.ndarray]:
        names = [value.name for value in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, (value.numpy() for value in inputs), strict=True)))


@pytest.fixture(scope='session')
def graph_in(tmp_path_factory) -> Callable[..., Graph]:
    """Export a module in a flavour: ``axes`` are the free ones of each input, by default those of an image."""

    def export(
        flavour: str, module: torch.nn.Module, inputs: Sequence[torch.Tensor], axes: Sequence[dict] | None = None
    ) -> Graph:
        names = [f'input{number}' for number in range(len(inputs))]
        free = axes or [{side: f'{name}{number}' for side, name in FREE.items()} for number in range(len(inputs))]
        path = str(tmp_path_factory.mktemp('graph') / 'graph')
        config = Config(
            dict(backend_config=dict(type='onnxruntime'), codebase_config=dict(type='mmdet', flavour=flavour))
        )
        with quiet():
            export_onnx(
                module.eval(),
                tuple(inputs),
                path,
                backend='onnxruntime',
                context_info=dict(deploy_cfg=config),
                input_names=names,
                dynamic_axes=dict(zip(names, free, strict=True)),
                opset_version=LOWEST_OPSET,
            )
        model = onnx.load(f'{path}.onnx')
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(f'{path}.onnx', providers=['CPUExecutionProvider'])
        return Graph(f'{path}.onnx', model, session)

    return export
