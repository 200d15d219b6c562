"""``grid_sample`` as one ONNX node."""

from mmdeploy.core import SYMBOLIC_REWRITER
from mmdeploy.utils import IR

_MODES = ('bilinear', 'nearest', 'bicubic')
_PADDINGS = ('zeros', 'border', 'reflection')


@SYMBOLIC_REWRITER.register_symbolic(
    'grid_sampler', is_pytorch=True, ir=IR.ONNX, arg_descriptors=['v', 'v', 'i', 'i', 'b']
)
def grid_sampler(g, input, grid, interpolation_mode, padding_mode, align_corners):
    """``GridSample`` of opset 16 in place of mmdeploy's custom operator, which needs its plugin library.

    Remove when mmdeploy emits the standard operator.
    """
    return g.op(
        'GridSample',
        input,
        grid,
        mode_s=_MODES[interpolation_mode],
        padding_mode_s=_PADDINGS[padding_mode],
        align_corners_i=int(align_corners),
    )
