# Recipe: adapted from EfficientFormer's official command line. Without its distillation from RegNetY-16GF, hence with
# one linear layer for two, and without its repeated augmentation; gradients are clipped by norm, not adaptively.
_base_ = [
    '../_base_/methods/classifier.py',
    '../_base_/backbones/efficientformer.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/adamw_300e.py',
    '../_base_/default_runtime_cls.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), **_base_.pop('as_classifier')),
    head=dict(in_channels=_base_.widths.l1[-1]),
)

optim_wrapper = dict(optimizer=dict(weight_decay=0.025))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=5, end=300, T_max=295, eta_min=1e-5, convert_to_iter_based=True
    ),
]
