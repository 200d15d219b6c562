# UperNet on Next-ViT-S, from the weights that the authors trained on ImageNet. As in their segmentation configs every
# stage ends with a norm, which ImageNet weights do not have.
_base_ = './upernet_trtvit-b.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmtrtvit.NextViT',
        arch='s',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.2,
        frozen_stages=-1,
        norm_eval=False,
        with_extra_norm=True,
        # docs/next_vit.md says where they are to be had and how they are converted
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nextvit_s_in1k.pth'),
    ),
    decode_head=dict(in_channels=[96, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
