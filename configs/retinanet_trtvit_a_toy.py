# RetinaNet on TRT-ViT-A, on the toy data set (`python tools/make_toy_data.py --out data/toy`). It learns from
# scratch in minutes on two CPU cores: FPN and head are narrow, with norms, as training from scratch needs them. The
# head sees every level of the pyramid: its norm is GroupNorm, as BatchNorm would mix their statistics.
_base_ = [
    './_base_/methods/retinanet.py',
    './_base_/backbones/trtvit.py',
    './_base_/datasets/toy_coco_detection.py',
    './_base_/schedules/toy_det.py',
    './_base_/default_runtime_toy.py',
]

channels = 64

model = dict(
    backbone=dict(_base_.pop('backbone'), arch='a', drop_path_rate=0.0),
    neck=dict(in_channels=_base_.widths.a, out_channels=channels, norm_cfg=dict(type='BN')),
    bbox_head=dict(
        num_classes=6,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=8),
    ),
    test_cfg=dict(max_per_img=20),
)

# twice as long as Mask R-CNN
train_cfg = dict(max_epochs=4, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=4, T_max=4, eta_min=1e-5, convert_to_iter_based=True),
]
