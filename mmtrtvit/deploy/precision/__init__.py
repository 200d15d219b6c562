"""Precision as a property of the ONNX graph: FP16, BF16 and INT8, their comparison with float32, and the search for
layers that must stay in float32."""

from .comparison import PrecisionReport, TensorDifference, compare_precision
from .emulation import emulate, run_graph
from .half import Plan, plan_half, to_bf16, to_fp16
from .int8 import int8_candidates, to_int8
from .metrics import detection_error, label_disagreement, metric_for, output_error
from .rules import KEPT_OPERATORS
from .search import KeptBlock, Search, find_nodes_to_exclude
from .weights import WeightRange, weights_out_of_range

__all__ = [
    'KEPT_OPERATORS',
    'KeptBlock',
    'Plan',
    'PrecisionReport',
    'Search',
    'TensorDifference',
    'WeightRange',
    'compare_precision',
    'detection_error',
    'emulate',
    'find_nodes_to_exclude',
    'int8_candidates',
    'label_disagreement',
    'metric_for',
    'output_error',
    'plan_half',
    'run_graph',
    'to_bf16',
    'to_fp16',
    'to_int8',
    'weights_out_of_range',
]
