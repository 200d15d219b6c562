# Batch, height and width are free. Images keep their aspect ratio, as in PyTorch.
_base_ = './_base_/semantic-seg.py'

backend_config = dict(type='onnxruntime')
