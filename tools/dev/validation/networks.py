"""Networks of the validation, and their graphs.

A network is named ``<family>-<arch>`` (a backbone of this project), ``paper:<name>`` (one of :mod:`.papers`) or as timm
names it. Graphs of timm's networks need the environment of ``make reference``; graphs are kept in a folder, without
weights, so that predictions need neither.
"""

import io
import math
import os
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from mmtrtvit.atomic import atomic_file
from mmtrtvit.errors import DataError
from mmtrtvit.roofline.layers import Graph, read_graph
from mmtrtvit.zoo.families import FAMILIES

from .papers import CSWinT, UniFormerS

PAPERS = {'paper:cswin_t': CSWinT, 'paper:uniformer_s': UniFormerS}

OPSET = 17

_SMALL = 1024
"""Weights of at most this many numbers stay in a graph without weights: axes, sizes and scales are among them."""

_SIZED = ('swin', 'vit_', 'deit', 'mixer', 'gmlp')
"""Parts of the names of networks in timm that are built for one size of image."""


def build(name: str, size: int) -> nn.Module:
    """A network with random weights, in evaluation mode."""
    family, _, arch = name.partition('-')
    if family in FAMILIES:
        network = FAMILIES[family].type(arch=arch).eval()
        network.switch_to_deploy()
        return network
    if name in PAPERS:
        return PAPERS[name]().eval()
    import timm

    network = timm.create_model(name).eval()
    if network.default_cfg['input_size'][1] != size and any(part in name for part in _SIZED):
        network = timm.create_model(name, img_size=size).eval()
    return network


def export(name: str, size: int, path: str | os.PathLike, weights: bool) -> None:
    """Export a network to ONNX.

    Args:
        name: Its name.
        size: Height and width of the image.
        path: The file to write.
        weights: Keep the weights and fold norms into convolutions, for running it. Otherwise all nodes stay as PyTorch
            runs them, and large weights become inputs.
    """
    modes = torch.onnx.TrainingMode
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            build(name, size),
            (torch.rand(1, 3, size, size),),
            file,
            opset_version=OPSET,
            dynamo=False,
            training=modes.EVAL if weights else modes.PRESERVE,
            input_names=['image'],
        )
    model = onnx.load_from_string(file.getvalue())
    if not weights:
        _drop_weights(model.graph)
    with atomic_file(path) as temporary:
        onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), temporary)


def _drop_weights(graph: onnx.GraphProto) -> None:
    """Make inputs of large weights."""
    small = [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= _SMALL]
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > _SMALL:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del graph.initializer[:]
    graph.initializer.extend(small)


def graph_path(folder: str | os.PathLike, name: str, size: int) -> Path:
    """The file of a graph in a folder of graphs."""
    return Path(folder) / f'{name.replace(":", "_")}@{size}.onnx'


def load_graph(folder: str | os.PathLike, name: str, size: int) -> Graph:
    """Read a graph of a folder.

    Raises:
        DataError: If it is not there.
    """
    path = graph_path(folder, name, size)
    if not path.is_file():
        raise DataError(
            f'{path} does not exist.', expected='the graph', fix='python tools/dev/validate_roofline.py graphs'
        )
    return read_graph(path, name=name)
