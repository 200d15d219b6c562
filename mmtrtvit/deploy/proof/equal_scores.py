"""The same order of equal scores in PyTorch as in ONNX."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class EqualScoresByPlace(TorchDispatchMode):
    """While active, PyTorch sorts equal values by their index, also inside mmcv's compiled operators.

    In an image of one colour, neighbouring anchors have exactly the same score and overlap, so the first one suppresses
    the others. ``torch.sort`` does not define which one comes first, while in ONNX's ``TopK`` the lower index wins. The
    comparison only has one right result if PyTorch follows the same rule.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten.sort.default:
            values, *how = args
            named = dict(zip(('dim', 'descending'), how, strict=False), **kwargs)
            return torch.ops.aten.sort.stable(values, stable=True, **named)
        return func(*args, **kwargs)
