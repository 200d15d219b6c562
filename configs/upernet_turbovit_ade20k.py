# Recipe: adapted from Next-ViT's official config for UperNet, with nothing frozen; TurboViT has none.
_base_ = [
    './_base_/models/upernet_turbovit.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime_seg.py',
]
