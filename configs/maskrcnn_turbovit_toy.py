# Mask R-CNN on the reconstructed stand-in for TurboViT, on the toy data set, from scratch: everything else is
# configs/maskrcnn_trtvit_a_toy.py.
_base_ = './maskrcnn_trtvit_a_toy.py'

model = dict(
    backbone=dict(_delete_=True, type='mmtrtvit.TurboViT', arch='base', out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
