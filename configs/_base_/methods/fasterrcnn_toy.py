# Faster R-CNN that learns the toy data set from scratch in minutes on two CPU cores: the Mask R-CNN of that data set
# without masks.
_base_ = './maskrcnn_toy.py'

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)
