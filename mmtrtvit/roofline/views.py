"""Memory layouts in PyTorch: which reshapes are views of the same memory, and which copy."""

import dataclasses

import torch

from .layers import Graph, Layer, Tensor

_STRIDED = ('Slice', 'Split', 'Expand')
_MAPS = ('conv', 'pool', 'resize', 'batchnorm')


def with_copies(graph: Graph) -> Graph:
    """Mark the reshapes that PyTorch has to copy for, as layers of the kind ``copy``.

    Maps of convolutions are channels last; transposes and slices change strides only. A reshape is a view where the
    strides allow it.

    Args:
        graph: Layers of a network.
    """
    layouts: dict[str, torch.Tensor] = {}
    softmax: set[str] = set()
    layers = []
    for layer in graph.layers:
        if layer.constant:
            layers.append(layer)
            continue
        for tensor in layer.reads:
            if not tensor.constant:  # an input of the network has no layout yet
                layouts.setdefault(tensor.name, torch.empty(tensor.shape, device='meta'))
        given = next((layouts[tensor.name] for tensor in layer.reads if tensor.name in layouts), None)
        copied = False
        for tensor in layer.writes:
            layout = _view(layer, tensor, given)
            if layout is None and layer.kind == 'free' and layer.operator != 'Shape':
                copied = given is not None and tensor.elements == given.numel()
            layouts[tensor.name] = layout if layout is not None else _made(layer, tensor, layouts, softmax)
        if layer.kind == 'softmax' or (layer.reads[0].name in softmax and layer.operator in ('Cast', 'Dropout')):
            softmax.update(tensor.name for tensor in layer.writes)
        layers.append(dataclasses.replace(layer, kind='copy') if copied else layer)
    return dataclasses.replace(graph, layers=tuple(layers))


def _view(layer: Layer, tensor: Tensor, given: torch.Tensor | None) -> torch.Tensor | None:
    """The layout of an output that is a view of the input; ``None`` if it is not."""
    if given is None:
        return None
    if layer.operator == 'Transpose':
        return given.permute(layer.axes)
    if layer.operator in _STRIDED and len(tensor.shape) == given.dim():
        strides = [stride if size == given.shape[axis] or layer.operator != 'Expand' else 0
                   for axis, (size, stride) in enumerate(zip(tensor.shape, given.stride()))]  # fmt: skip
        return torch.empty_strided(tensor.shape, strides, device='meta')
    if layer.operator == 'Gather' and layer.axes and layer.reads[1].elements == 1:
        return given.select(layer.axes[0], 0)
    if layer.kind == 'free' and tensor.elements == given.numel():
        try:
            return given.view(tensor.shape)
        except RuntimeError:  # the strides do not allow it
            return None
    return None


def _made(layer: Layer, tensor: Tensor, layouts: dict[str, torch.Tensor], softmax: set[str]) -> torch.Tensor:
    """The layout of an output in memory of its own."""
    new = torch.empty(tensor.shape, device='meta')
    if layer.kind in _MAPS and len(tensor.shape) == 4:
        return new.to(memory_format=torch.channels_last)
    if layer.kind == 'pointwise':
        same = (layouts[one.name] for one in layer.reads if one.name in layouts and one.shape == tensor.shape)
        return torch.empty_like(next(same, new))
    if layer.kind == 'matmul' and len(tensor.shape) == 4 and layer.reads[0].name in softmax:
        return torch.empty_like(new.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
    return new
