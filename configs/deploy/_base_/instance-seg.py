# Settings of every export of Mask R-CNN: detection.py with masks.
_base_ = './detection.py'

onnx_config = dict(
    output_names=['dets', 'labels', 'masks'],
    dynamic_axes=dict(masks={0: 'batch', 1: 'num_dets', 2: 'mask_height', 3: 'mask_width'}),
)
