# Mask R-CNN: Faster R-CNN with a mask head, which sees the boxes by a finer RoIAlign.
_base_ = './fasterrcnn.py'

model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(pad_mask=True),
    roi_head=dict(
        mask_roi_extractor=dict(
            _base_.model.roi_head.bbox_roi_extractor,
            roi_layer=dict(_base_.model.roi_head.bbox_roi_extractor.roi_layer, output_size=14),
        ),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=True), mask_size=28)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)),
)
