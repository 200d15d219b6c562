# RetinaNet with FPN on EfficientFormer-L1, from the weights that the authors trained on ImageNet. The norms on its
# outputs are new, as in their code.
_base_ = './retinanet_trtvit-b_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmtrtvit.EfficientFormer',
        arch='l1',
        # every map that is returned has a norm: one whose map is not used would get no gradient
        out_indices=(1, 2, 3),
        drop_path_rate=0.0,
        frozen_stages=-1,
        norm_eval=False,
        # docs/efficientformer.md says where they are to be had and how they are converted
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/efficientformer_l1_in1k.pth'),
    ),
    neck=dict(in_channels=[96, 224, 448], start_level=0),
)
