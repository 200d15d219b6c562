# Semantic FPN on TRT-ViT-A, on the toy data set (`python tools/make_toy_data.py --out data/toy`). It learns from
# scratch in half an hour on a CPU: neck and head are narrow.
_base_ = [
    './_base_/methods/semfpn.py',
    './_base_/backbones/trtvit.py',
    './_base_/datasets/toy_seg.py',
    './_base_/schedules/toy_seg.py',
    './_base_/default_runtime_seg.py',
]

channels = 64

model = dict(
    # images are padded when they are tested, too: to whole cells of the last stage
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size_divisor=32)),
    backbone=dict(_base_.pop('backbone'), arch='a', drop_path_rate=0.0),
    neck=dict(in_channels=_base_.widths.a, out_channels=channels, norm_cfg=dict(type='BN')),
    decode_head=dict(
        in_channels=[channels] * 4,
        channels=channels,
        num_classes=7,
    ),
)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=2000, max_keep_ckpts=1, save_best=None))
