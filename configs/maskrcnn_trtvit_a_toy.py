# Mask R-CNN on TRT-ViT-A, on the toy data set (`python tools/make_toy_data.py --out data/toy`). It learns from
# scratch in minutes on two CPU cores: FPN and heads are narrow and have fewer proposals, neck and mask head have
# BatchNorm, as training from scratch needs it, and RoI features come from a coarser level, as objects are small.
_base_ = [
    './_base_/models/mask-rcnn_trtvit-b_fpn.py',
    './_base_/datasets/toy_coco_instance.py',
    './_base_/schedules/toy_det.py',
    './_base_/default_runtime.py',
]

channels = 64

model = dict(
    backbone=dict(arch='a', drop_path_rate=0.0),
    neck=dict(in_channels=[128, 256, 512, 1024], out_channels=channels, norm_cfg=dict(type='BN')),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, finest_scale=14),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=6),
        mask_roi_extractor=dict(out_channels=channels, finest_scale=14),
        mask_head=dict(
            num_convs=2, in_channels=channels, conv_out_channels=48, num_classes=6, norm_cfg=dict(type='BN')
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=20)),
)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1, save_best=None))
