# Settings of every export of a segmentor.
_base_ = './common.py'

onnx_config = dict(output_names=['output'], dynamic_axes=dict(output={0: 'batch', 2: 'height', 3: 'width'}))
codebase_config = dict(
    type='mmseg',
    task='Segmentation',
    with_argmax=False,  # logits, not labels: mmseg resizes them to the image before it decides
)
