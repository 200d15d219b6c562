_base_ = [
    './_base_/models/mask-rcnn_trtvit-b_fpn.py',
    './_base_/datasets/coco_instance_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]
