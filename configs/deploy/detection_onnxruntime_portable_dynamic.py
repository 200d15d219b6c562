# The portable flavour in ONNX Runtime: plain arithmetic in place of NonMaxSuppression and RoiAlign. Slower on a CPU;
# for comparing it with the native one, and for engines that lack these operators.
_base_ = './detection_onnxruntime_dynamic.py'

onnx_config = dict(output_names=['dets', 'labels', 'exact'], dynamic_axes=dict(exact={0: 'batch'}))
codebase_config = dict(flavour='portable')
