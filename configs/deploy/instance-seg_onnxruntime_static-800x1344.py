# One image of 800 x 1344 (height x width). Images are made to fit into it, keep their aspect ratio and are padded.
_base_ = './instance-seg_onnxruntime_dynamic.py'

onnx_config = dict(
    input_shape=[1344, 800],  # mmdeploy writes width first
    dynamic_axes=dict(_delete_=True),
)
