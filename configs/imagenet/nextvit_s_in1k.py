# Recipe: published, Next-ViT's official command line, without the 10 epochs at the lowest rate after the 300.
_base_ = [
    '../_base_/methods/classifier.py',
    '../_base_/backbones/nextvit.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/adamw_300e.py',
    '../_base_/default_runtime_cls.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), **_base_.pop('as_classifier')),
    head=dict(in_channels=_base_.widths.s[-1]),
)

# batches of 2048: 8 GPUs with 256 images each
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.1), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-4, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=20, end=300, T_max=280, eta_min=1e-5, convert_to_iter_based=True
    ),
]
auto_scale_lr = dict(base_batch_size=2048)
