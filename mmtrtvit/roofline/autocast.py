"""The types of tensors under PyTorch's autocast, with the casts that it adds."""

import dataclasses

from .layers import MATRIX, Graph, Layer, Tensor

HALF, FULL = 2, 4
"""Bytes of float16 and float32."""

FULL_KINDS = frozenset({'norm', 'softmax'})
"""Kinds of layers that autocast runs in float32."""


def autocast(graph: Graph) -> Graph:
    """Give every tensor the width that it has under autocast.

    Products are computed in float16, norms and softmax in float32. Other layers give the widest type of their inputs: a
    parameter of float32 makes a sum float32, a scalar does not. Layers that want another type than they get have a
    ``Cast`` before them.

    Args:
        graph: Layers of a network in float32.
    """
    width: dict[str, int] = {}
    layers: list[Layer] = []
    product: dict[str, Layer] = {}

    def of(tensor: Tensor) -> int:
        if tensor.width is not None:
            return tensor.width
        return width.get(tensor.name, FULL if tensor.constant else HALF)

    def sized(tensor: Tensor, size: int) -> Tensor:
        return tensor if tensor.width is not None else dataclasses.replace(tensor, width=size)

    for layer in graph.layers:
        wanted = HALF if layer.kind in MATRIX else FULL if layer.kind in FULL_KINDS else None
        reads = []
        for tensor in layer.reads:
            have = of(tensor)
            if wanted is None or tensor.width is not None or have == wanted:
                reads.append(sized(tensor, have))
            elif tensor.constant:  # weights are cast once
                reads.append(sized(tensor, wanted))
            else:
                name = f'{tensor.name}:{wanted}'
                cast = dataclasses.replace(tensor, name=name, width=wanted)
                if name not in width:
                    width[name] = wanted
                    layers.append(Layer(f'{layer.name}/cast', 'Cast', 'pointwise', (sized(tensor, have),), (cast,)))
                reads.append(cast)
        result = wanted
        if wanted is None:
            floats = [
                tensor
                for tensor in layer.reads
                if tensor.width is None and (tensor.elements > 1 or not tensor.constant)
            ]
            before = next((product[tensor.name] for tensor in layer.reads if tensor.name in product), None)
            # A linear layer adds its bias itself; BatchNorm keeps the type of its input.
            if layer.kind == 'batchnorm' or (before is not None and layer.operator == 'Add' and _bias(layer)):
                floats = [tensor for tensor in floats if not tensor.constant]
            result = max((of(tensor) for tensor in floats), default=HALF)
        if layer.kind == 'matmul' and layer.product and layer.product.shared:
            product[layer.writes[0].name] = layer
        for tensor in layer.writes:
            if tensor.width is None:
                width[tensor.name] = result
        layers.append(
            dataclasses.replace(
                layer, reads=tuple(reads), writes=tuple(sized(tensor, of(tensor)) for tensor in layer.writes)
            )
        )
    return dataclasses.replace(graph, layers=tuple(layers))


def _bias(layer: Layer) -> bool:
    return any(tensor.constant and len(tensor.shape) == 1 for tensor in layer.reads)
