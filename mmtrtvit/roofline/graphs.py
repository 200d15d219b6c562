"""The layers of a network from its ONNX file, its exported folder, its config or its name."""

import copy
import dataclasses
import io
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS

from ..benchmark.sources import OPSET, export_backbone
from ..config import load_config
from ..errors import ConfigError, DeployError
from ..runtime.manifest import MANIFEST, read_manifest
from ..runtime.tensor_names import ONNX_FILE
from ..zoo.complexity import run_parts
from ..zoo.families import FAMILIES
from ..zoo.methods import METHODS, method_of
from .layers import Graph, Layer, Tensor, read_graph

BACKBONE_SIZE = (224, 224)
"""Height and width of the input of a backbone, unless another one is asked for."""


def graph_of(source: str, shape: tuple[int, int] | None = None) -> Graph:
    """Read the layers of a network.

    Args:
        source: An ONNX file, a folder of ``tools/deploy.py``, a config, or a backbone such as ``trtvit-c``.
        shape: Height and width of the input; by default that of the graph, of the published totals of a config's
            method, or :data:`BACKBONE_SIZE`.

    Raises:
        ConfigError: If the source is none of these, or the shape does not fit.
        DeployError: If the file or folder cannot be read.
    """
    path = Path(source)
    if path.suffix == '.onnx':
        return read_graph(path, shape and (1, 3, *shape))
    if path.is_dir():
        return _artefact(path, shape)
    if path.suffix == '.py' or '::' in source or path.is_file():
        config = load_config(source)
        return network_graph(config, shape or METHODS[method_of(config)].shape)
    names = {f'{name}-{arch}': (name, arch) for name, family in FAMILIES.items() for arch in family.archs}
    if source in names:
        return backbone_graph(*names[source], shape or BACKBONE_SIZE)
    raise ConfigError(
        f'{source} is not a file, a folder or a backbone.',
        expected=f'an ONNX file, a folder of tools/deploy.py, a config, or one of {", ".join(names)}',
        fix='correct the path or the name',
    )


def _artefact(folder: Path, shape: tuple[int, int] | None) -> Graph:
    manifest = read_manifest(folder)
    engine = manifest['engine']
    file = engine if engine.endswith('.onnx') else ONNX_FILE
    if not (folder / file).is_file():
        raise DeployError(
            f'{folder / MANIFEST} lists no ONNX graph, only {engine}.',
            expected=f'the graph that {engine} was made of',
            fix='give a folder for --backend onnxruntime, or the config of the network',
        )
    return read_graph(folder / file, shape and (1, 3, *shape), folder.name)


def backbone_graph(family: str, arch: str, shape: tuple[int, int] = BACKBONE_SIZE) -> Graph:
    """Export a backbone in its deploy form and read its layers.

    Args:
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        arch: A size of the family.
        shape: Height and width of the input.

    Raises:
        ConfigError: If the family does not have this size.
    """
    backbone = FAMILIES[family].type(arch=arch).eval()
    backbone.switch_to_deploy()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'backbone.onnx')
        export_backbone(backbone, torch.rand(1, 3, *shape), path)
        return read_graph(path, name=f'{family}-{arch}')


def network_graph(config: Config, shape: tuple[int, int]) -> Graph:
    """Export the parts of a detector or segmentor that run in testing, one by one, and read their layers.

    As in :func:`~mmtrtvit.zoo.complexity.network_complexity`, the steps between them are left out: choice of proposals,
    RoIAlign, suppression, pasting of masks. A RoI head counts for as many RoIs as there.

    Args:
        config: A config as ``configs/upernet_trtvit_b_ade20k.py``.
        shape: Height and width of the input.

    Raises:
        ConfigError: If the config's method is not one that this package counts.
    """
    method = METHODS[method_of(config)]
    model = copy.deepcopy(config.model)
    model.pop('init_cfg', None)
    network = MODELS.build(dict(model, _scope_=config.default_scope)).eval()
    network.backbone.switch_to_deploy()
    layers: list[Layer] = []
    outputs: set[str] = set()
    unknown: Counter[str] = Counter()

    def export(part: str, module: nn.Module, inputs: object) -> object:
        file = io.BytesIO()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            torch.onnx.export(module, (inputs,), file, opset_version=OPSET, dynamo=False)
            output = module(inputs)
        graph = read_graph(onnx.load_from_string(file.getvalue()))
        layers.extend(_prefixed(layer, part) for layer in graph.layers)
        outputs.update(f'{part}:{name}' for name in graph.outputs)
        unknown.update(graph.unknown)
        return output

    run_parts(network, method, torch.rand(1, 3, *shape), export)
    name = os.path.splitext(os.path.basename(config.filename or 'network'))[0]
    return Graph(name, (1, 3, *shape), tuple(layers), frozenset(outputs), dict(unknown))


def _prefixed(layer: Layer, part: str) -> Layer:
    """A layer whose name and tensors carry the name of its part, as parts are exported with the same names."""

    def renamed(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(dataclasses.replace(tensor, name=f'{part}:{tensor.name}') for tensor in tensors)

    return dataclasses.replace(
        layer, name=f'{part}{layer.name}', reads=renamed(layer.reads), writes=renamed(layer.writes)
    )
