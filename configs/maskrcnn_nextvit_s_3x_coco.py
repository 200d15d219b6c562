# Recipe: published, Next-ViT's official config for 3x. RoIAlign takes 2 x 2 samples a bin, as in every config here, and
# mixed precision is an option (--amp).
_base_ = [
    './_base_/models/mask-rcnn_nextvit-s_fpn.py',
    './_base_/datasets/coco_instance_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]
