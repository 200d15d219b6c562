# Recipe: adapted from Next-ViT's official config for Mask R-CNN 1x, with nothing frozen; TurboViT has none.
_base_ = [
    './_base_/models/retinanet_turbovit_fpn.py',
    './_base_/datasets/coco_detection.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]
