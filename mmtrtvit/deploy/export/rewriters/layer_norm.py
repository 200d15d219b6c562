"""LayerNorm as one ONNX node."""

import torch
from mmdeploy.core import SYMBOLIC_REWRITER
from mmdeploy.utils import IR


@SYMBOLIC_REWRITER.register_symbolic(
    'layer_norm', is_pytorch=True, ir=IR.ONNX, arg_descriptors=['v', 'is', 'v', 'v', 'f', 'b']
)
def layer_norm(g, x, normalized_shape, weight, bias, eps, cudnn_enable):
    """``LayerNormalization`` of opset 17 in place of mmdeploy's mean, power, square root and division.

    The longer form overflows in FP16 (the square of a value above 255), and engines do not recognise it
    reliably. A missing weight or bias becomes a constant of ones or zeros, as the operator needs both.
    """
    if weight is None or weight.node().mustBeNone():
        weight = g.op('Constant', value_t=torch.ones(normalized_shape))
    inputs = [x, weight]
    if bias is not None and not bias.node().mustBeNone():
        inputs.append(bias)
    return g.op('LayerNormalization', *inputs, epsilon_f=eps, axis_i=-len(normalized_shape))
