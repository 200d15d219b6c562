# Mask R-CNN with FPN on Next-ViT-S, from the weights that the authors trained on ImageNet. Frozen is what their
# detection configs freeze: the stem, the first stage and the statistics of BatchNorm.
_base_ = './mask-rcnn_trtvit-b_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmtrtvit.NextViT',
        arch='s',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.1,
        frozen_stages=1,
        norm_eval=True,
        # docs/next_vit.md says where they are to be had and how they are converted
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nextvit_s_in1k.pth'),
    ),
    neck=dict(in_channels=[96, 256, 512, 1024]),
)
