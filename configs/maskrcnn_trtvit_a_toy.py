# Mask R-CNN on TRT-ViT-A, on the toy data set (`python tools/make_toy_data.py --out data/toy`), from scratch.
_base_ = [
    './_base_/methods/maskrcnn_toy.py',
    './_base_/backbones/trtvit.py',
    './_base_/datasets/toy_coco_instance.py',
    './_base_/schedules/toy_det.py',
    './_base_/default_runtime_toy.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), arch='a', drop_path_rate=0.0),
    neck=dict(in_channels=_base_.widths.a),
)
