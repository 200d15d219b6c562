"""One order of equal scores, in PyTorch as in ONNX."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class EqualScoresByPlace(TorchDispatchMode):
    """While it is active, PyTorch sorts equal values by their place, also inside of mmcv's compiled operators.

    Where an image is of one colour, anchors beside each other have the same score to the last bit, and overlap: the
    first one suppresses the others. ``torch.sort`` leaves open which one is first, while in ONNX's ``TopK`` the lower
    index wins. Only with the same rule in PyTorch there is one right result to compare with.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten.sort.default:
            values, *how = args
            named = dict(zip(('dim', 'descending'), how, strict=False), **kwargs)
            return torch.ops.aten.sort.stable(values, stable=True, **named)
        return func(*args, **kwargs)
