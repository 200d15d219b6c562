# Mask R-CNN on EfficientFormer-L1, on the toy data set (`python tools/make_toy_data.py --out data/toy`), from scratch.
_base_ = [
    './_base_/methods/maskrcnn_toy.py',
    './_base_/backbones/efficientformer.py',
    './_base_/datasets/toy_coco_instance.py',
    './_base_/schedules/toy_det.py',
    './_base_/default_runtime_toy.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), init_cfg=None),
    neck=dict(in_channels=_base_.widths.l1),
)
