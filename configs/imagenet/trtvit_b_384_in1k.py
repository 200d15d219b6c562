# Goes on from the 300 epochs of trtvit_b_in1k.py (another checkpoint: --cfg-options load_from=FILE).
# Recipe: adapted from Next-ViT's, see _base_/schedules/adamw_30e.py.
_base_ = [
    '../_base_/methods/classifier.py',
    '../_base_/backbones/trtvit.py',
    '../_base_/datasets/imagenet_384.py',
    '../_base_/schedules/adamw_30e.py',
    '../_base_/default_runtime_cls.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), **_base_.pop('as_classifier')),
    head=dict(in_channels=_base_.widths.b[-1]),
)
load_from = 'work_dirs/trtvit_b_in1k/epoch_300.pth'
