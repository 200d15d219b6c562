"""What exported networks call their file, their input and their outputs."""

ONNX_FILE = 'end2end.onnx'
"""mmdeploy's name of it."""

INPUT = 'input'

DETS, LABELS, MASKS = 'dets', 'labels', 'masks'
"""Outputs of detectors: boxes with scores, their classes, and masks within the boxes."""

EXACT = 'exact'
"""Output of portable detectors: 1 where the boxes are certain to be PyTorch's."""

OUTPUT = 'output'
"""Output of segmentors: logits."""

OUTPUTS: dict[str, dict[str, int]] = {
    'detection': {DETS: 3, LABELS: 2},
    'instance': {DETS: 3, LABELS: 2, MASKS: 4},
    'segmentation': {OUTPUT: 4},
}
"""What a network of each task gives: name to number of dimensions."""
