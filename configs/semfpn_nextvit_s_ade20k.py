# Recipe: adapted from Next-ViT's official config, which is 40k iterations of 32 images: here as many images in 80k
# iterations of 16, the learning rate as it is.
_base_ = [
    './_base_/methods/semfpn.py',
    './_base_/backbones/nextvit.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_80k.py',
    './_base_/default_runtime_seg.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), drop_path_rate=0.2, frozen_stages=-1, norm_eval=False, with_extra_norm=True),
    neck=dict(in_channels=_base_.widths.s),
)
