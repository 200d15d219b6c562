# Mask R-CNN on EfficientFormer-L1, on the toy data set, from scratch: everything else is
# configs/maskrcnn_trtvit_a_toy.py.
_base_ = './maskrcnn_trtvit_a_toy.py'

model = dict(
    backbone=dict(_delete_=True, type='mmtrtvit.EfficientFormer', arch='l1', out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[48, 96, 224, 448]),
)
