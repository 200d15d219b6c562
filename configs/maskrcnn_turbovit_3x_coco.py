# Recipe: adapted from Next-ViT's official config for Mask R-CNN 3x, with nothing frozen; TurboViT has none.
_base_ = [
    './_base_/models/mask-rcnn_turbovit_fpn.py',
    './_base_/datasets/coco_instance_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]
