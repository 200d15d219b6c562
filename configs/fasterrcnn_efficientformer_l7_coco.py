# Recipe: adapted, see fasterrcnn_efficientformer_l1_coco.py.
_base_ = './fasterrcnn_efficientformer_l1_coco.py'

model = dict(
    backbone=dict(arch='l7', init_cfg=dict(checkpoint='checkpoints/efficientformer_l7_in1k.pth')),
    neck=dict(in_channels=_base_.widths.l7),
)
