"""Patches that let mmdeploy 1.3.1 export on a current PyTorch.

mmdeploy's last release is from 2023. The patches are registered with mmdeploy's own rewriters and are active only
during an export, except for two that make it faster. Each one says when it can be removed.
"""

import contextlib
import gc
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, MutableSequence

import torch
from mmdeploy.core import FUNCTION_REWRITER, SYMBOLIC_REWRITER
from mmdeploy.core.rewriters import function_rewriter, symbolic_rewriter
from mmdeploy.core.rewriters.function_rewriter import FunctionRewriter
from mmdeploy.utils import IR

from ...errors import DeployError

LOWEST_OPSET = 17
"""The first opset with ``LayerNormalization``. Below it, a LayerNorm becomes several nodes and overflows in FP16."""


def get_frame_func(top: int = 1) -> Callable:
    """The calling function, ``top`` frames up the stack.

    Reason: mmdeploy looks it up at every rewritten call and reads the source of every frame of the stack to do so,
    which takes most of the time of an export. Remove when mmdeploy only looks at the one frame that it needs.
    """
    frame = sys._getframe(top)
    return frame.f_globals[frame.f_code.co_name]


for _module in (function_rewriter, symbolic_rewriter):
    _module.get_frame_func = get_frame_func


class QuickFunctionRewriter(FunctionRewriter):
    """Installs and removes the rewritten functions with a single search of the memory.

    Reason: mmdeploy asks the garbage collector for the lists and dictionaries that hold a function, twice for each of
    some 20 functions. This takes seconds in a process with OpenMMLab loaded. Remove when mmdeploy asks once.
    """

    def enter(self, cfg: dict | None = None, env: dict | None = None, **kwargs) -> None:
        """Install the functions that are registered for ``env``."""
        with _holders_known(path for path, _ in self._registry.get_records(env or {})):
            super().enter({} if cfg is None else cfg, env or {}, **kwargs)

    def exit(self) -> None:
        """Restore the original functions."""
        with _holders_known(function['func_path'] for function in self._origin_functions):
            super().exit()


IGNORED_KEYS = ('origin_func',)
"""Keys under which mmdeploy keeps the function that it replaces."""


@contextlib.contextmanager
def _holders_known(paths: Iterable[str]) -> Iterator[None]:
    """Replace the functions at ``paths`` in the lists and dictionaries that currently hold one of them."""
    functions = {}
    for path in paths:
        with contextlib.suppress(Exception):  # mmdeploy warns of a function that does not exist
            function = function_rewriter.import_function(path)[0]
            functions[id(function)] = function
    places = defaultdict(list)  # id of a function to (list or dictionary, index or key)
    for holder in gc.get_referrers(*functions.values()):
        if isinstance(holder, (dict, MutableSequence)) and holder is not functions:
            for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
                if id(value) in functions and key not in IGNORED_KEYS:
                    places[id(value)].append((holder, key))

    def replace(old: Callable, new: Callable, **ignored) -> None:
        for holder, key in places.pop(id(old), []):
            holder[key] = new
            places[id(new)].append((holder, key))

    original, function_rewriter._replace_all_obj = function_rewriter._replace_all_obj, replace
    try:
        yield
    finally:
        function_rewriter._replace_all_obj = original


FUNCTION_REWRITER.__class__ = QuickFunctionRewriter


@FUNCTION_REWRITER.register_rewriter(func_name='torch.onnx.export', ir=IR.ONNX)
def export_by_torchscript(*args, **kwargs) -> None:
    """Export through TorchScript. Operators that ONNX lacks stay in the graph, so that an error can name all of them.

    Reason: from torch 2.9 on, ``torch.onnx.export`` uses dynamo by default, which ignores mmdeploy's symbolics. Remove
    when mmdeploy passes ``dynamo=False`` itself.
    """
    ctx = FUNCTION_REWRITER.get_context()
    opset = kwargs.get('opset_version') or 0
    if opset < LOWEST_OPSET:
        raise DeployError(
            f'The deploy config asks for ONNX opset {opset}.',
            expected=f'opset {LOWEST_OPSET}: the first with LayerNormalization as one node',
            fix=f'set onnx_config.opset_version={LOWEST_OPSET} in the deploy config',
        )
    fall_through = torch.onnx.OperatorExportTypes.ONNX_FALLTHROUGH
    ctx.origin_func(*args, **{**kwargs, 'dynamo': False, 'operator_export_type': fall_through})


@SYMBOLIC_REWRITER.register_symbolic('mmcv.ops.roi_align.__self__', ir=IR.ONNX, backend='onnxruntime')
def roi_align(g, features, rois, output_size, spatial_scale, sampling_ratio, pool_mode, aligned):
    """mmcv's RoIAlign as the standard ``RoiAlign``.

    Reason: mmdeploy's symbolic imports ``torch.onnx.symbolic_opset9._cast_Long``, which torch removed.
    Remove when mmdeploy casts with its own code.

    ``features`` is (B, C, H, W), ``rois`` is (n, 5) with the index of the image first.

    With ``sampling_ratio=0``, as in mmdet's own configs, the standard operator chooses the number of samples for each
    box as mmcv does. It is 0 for a box without area, such as padding: mmcv gives 0 there, and OpenVINO divides 0 by 0.
    """
    first = _constant(g, [0])
    number = g.op('Squeeze', g.op('Gather', rois, first, axis_i=1), _constant(g, [1]))
    image = g.op('Cast', number, to_i=torch.onnx.TensorProtoDataType.INT64)
    boxes = g.op('Gather', rois, _constant(g, [1, 2, 3, 4]), axis_i=1)
    pooled = g.op(
        'RoiAlign',
        features,
        boxes,
        image,
        output_height_i=output_size[0],
        output_width_i=output_size[1],
        spatial_scale_f=spatial_scale,
        sampling_ratio_i=sampling_ratio,
        mode_s=pool_mode,
        coordinate_transformation_mode_s='half_pixel' if aligned else 'output_half_pixel',
    )
    if sampling_ratio > 0 or not aligned:  # otherwise every box has at least one pixel
        return pooled
    # the sides as mmcv computes them, to the last bit
    corners = g.op('Sub', g.op('Mul', boxes, _constant(g, spatial_scale)), _constant(g, 0.5))
    low, high = (g.op('Gather', corners, _constant(g, columns), axis_i=1) for columns in ([0, 1], [2, 3]))
    positive = g.op('Greater', g.op('Sub', high, low), _constant(g, 0.0))
    width, height = (g.op('Gather', positive, _constant(g, [side]), axis_i=1) for side in (0, 1))
    has_area = g.op('Unsqueeze', g.op('And', width, height), _constant(g, [2, 3]))
    return g.op('Where', has_area, pooled, _constant(g, 0.0))


def _constant(g, value):
    """A constant of a graph: int64 for integers, float32 for floats."""
    return g.op('Constant', value_t=torch.tensor(value))
