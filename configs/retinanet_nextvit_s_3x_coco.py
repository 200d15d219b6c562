# Recipe: adapted from Next-ViT's official config for Mask R-CNN 3x; there is none for RetinaNet.
_base_ = [
    './_base_/models/retinanet_nextvit-s_fpn.py',
    './_base_/datasets/coco_detection_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]
