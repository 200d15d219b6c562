"""Names of the ONNX file and of the inputs and outputs of exported networks."""

ONNX_FILE = 'end2end.onnx'
"""The file name that mmdeploy uses."""

INPUT = 'input'

DETS, LABELS, MASKS = 'dets', 'labels', 'masks'
"""Outputs of detectors: boxes with scores, their classes, and masks within the boxes."""

EXACT = 'exact'
"""Output of portable detectors: 1 if the boxes are certain to equal PyTorch's."""

OUTPUT = 'output'
"""Output of segmentors: logits."""

SCORES = 'scores'
"""Output of classifiers: the probability of each class."""
