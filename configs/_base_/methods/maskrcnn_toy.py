# Mask R-CNN that learns the toy data set from scratch in minutes on two CPU cores: FPN and heads are narrow and have
# fewer proposals, neck and mask head have BatchNorm, as training from scratch needs it, and RoI features come from a
# coarser level, as objects are small. There one sample a bin of RoIAlign is enough, and takes a quarter of the time.
_base_ = './maskrcnn.py'

channels = 64

model = dict(
    neck=dict(out_channels=channels, norm_cfg=dict(type='BN')),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=1), out_channels=channels, finest_scale=14),
        bbox_head=dict(in_channels=channels, fc_out_channels=256, num_classes=6),
        mask_roi_extractor=dict(roi_layer=dict(sampling_ratio=1), out_channels=channels, finest_scale=14),
        mask_head=dict(
            num_convs=2, in_channels=channels, conv_out_channels=48, num_classes=6, norm_cfg=dict(type='BN')
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=32, pos_fraction=0.25)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100), rcnn=dict(max_per_img=20)),
)
