# Batch, height and width are free. Images keep their aspect ratio, as in PyTorch.
_base_ = ['./_base_/onnx_instance_seg.py', './_base_/onnxruntime.py']

onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch', 2: 'height', 3: 'width'},
        dets={0: 'batch', 1: 'num_dets'},
        labels={0: 'batch', 1: 'num_dets'},
        masks={0: 'batch', 1: 'num_dets', 2: 'mask_height', 3: 'mask_width'},
    )
)
