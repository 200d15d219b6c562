# Recipe: published, Next-ViT's official config.
_base_ = [
    './_base_/models/upernet_nextvit-s.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime_seg.py',
]
