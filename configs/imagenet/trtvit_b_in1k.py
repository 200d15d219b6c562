# Recipe: published in its main settings (_base_/schedules/adamw_300e.py). The rate of stochastic depth is not: 0.1 for
# A and B, 0.2 for C and D, as Next-ViT has it.
_base_ = [
    '../_base_/methods/classifier.py',
    '../_base_/backbones/trtvit.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/adamw_300e.py',
    '../_base_/default_runtime_cls.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), **_base_.pop('as_classifier')),
    head=dict(in_channels=_base_.widths.b[-1]),
)
