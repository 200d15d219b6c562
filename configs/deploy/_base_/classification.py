# Settings of every export of a classifier.
_base_ = './common.py'

onnx_config = dict(output_names=['scores'], dynamic_axes=dict(scores={0: 'batch'}))
codebase_config = dict(type='mmpretrain', task='Classification')
