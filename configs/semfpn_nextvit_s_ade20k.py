# Recipe: adapted from Next-ViT's official config, which is 40k iterations of 32 images: here as many images in 80k
# iterations of 16, the learning rate as it is.
_base_ = [
    './_base_/models/semfpn_nextvit-s.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_80k.py',
    './_base_/default_runtime_seg.py',
]
