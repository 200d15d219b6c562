"""Names of the file, the input and the outputs of exported networks."""

ONNX_FILE = 'end2end.onnx'
"""As mmdeploy names it."""

INPUT = 'input'

DETS, LABELS, MASKS = 'dets', 'labels', 'masks'
"""Outputs of detectors: boxes with scores, their classes, and masks within the boxes."""

EXACT = 'exact'
"""Output of portable detectors: 1 where the boxes are certain to be PyTorch's."""

OUTPUT = 'output'
"""Output of segmentors: logits."""
