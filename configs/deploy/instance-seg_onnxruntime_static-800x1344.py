# One image of 800 x 1344 (height x width). A fixed shape changes the aspect ratio of images, in mmdeploy and so here:
# compare its accuracy with PyTorch's on the same pipeline, as tools/deploy.py does.
_base_ = ['./_base_/onnx_instance_seg.py', './_base_/onnxruntime.py']

onnx_config = dict(input_shape=(1344, 800))  # mmdeploy writes width first
