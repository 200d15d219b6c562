# Mask R-CNN on Next-ViT-S, on the toy data set, from scratch, so nothing is frozen: everything else is
# configs/maskrcnn_trtvit_a_toy.py.
_base_ = './maskrcnn_trtvit_a_toy.py'

model = dict(
    backbone=dict(_delete_=True, type='mmtrtvit.NextViT', arch='s', out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[96, 256, 512, 1024]),
)
