# Recipe: adapted from EfficientFormer's official config for Mask R-CNN; there is none for RetinaNet.
_base_ = [
    './_base_/models/retinanet_efficientformer-l1_fpn.py',
    './_base_/datasets/coco_detection.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]

optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4))
