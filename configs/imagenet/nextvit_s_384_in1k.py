# Goes on from the 300 epochs of nextvit_s_in1k.py (another checkpoint: --cfg-options load_from=FILE).
# Recipe: published, see _base_/schedules/adamw_30e.py; gradients are clipped as in the 300 epochs.
_base_ = [
    '../_base_/methods/classifier.py',
    '../_base_/backbones/nextvit.py',
    '../_base_/datasets/imagenet_384.py',
    '../_base_/schedules/adamw_30e.py',
    '../_base_/default_runtime_cls.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), **_base_.pop('as_classifier')),
    head=dict(in_channels=_base_.widths.s[-1]),
)
load_from = 'work_dirs/nextvit_s_in1k/epoch_300.pth'
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
