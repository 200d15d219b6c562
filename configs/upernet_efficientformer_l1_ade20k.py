# Recipe: adapted from Next-ViT's official config; there is none of EfficientFormer for UperNet.
_base_ = [
    './_base_/models/upernet_efficientformer-l1.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime_seg.py',
]
