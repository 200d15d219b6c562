# Recipe: adapted from TRT-ViT's; TurboViT's own is not published.
_base_ = [
    '../_base_/methods/classifier.py',
    '../_base_/backbones/turbovit.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/adamw_300e.py',
    '../_base_/default_runtime_cls.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), **_base_.pop('as_classifier')),
    head=dict(in_channels=_base_.widths.base[-1]),
)
