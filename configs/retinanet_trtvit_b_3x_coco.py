_base_ = [
    './_base_/models/retinanet_trtvit-b_fpn.py',
    './_base_/datasets/coco_detection_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]
