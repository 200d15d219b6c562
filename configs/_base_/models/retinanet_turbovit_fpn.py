# RetinaNet with FPN on the stand-in for TurboViT. Its widths, depths and heads are reconstructed from derived totals:
# the architecture that the paper searched is published as a figure only, without weights.
_base_ = './retinanet_trtvit-b_fpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmtrtvit.TurboViT',
        arch='base',
        # every map that is returned has a norm: one whose map is not used would get no gradient
        out_indices=(1, 2, 3),
        drop_path_rate=0.1,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[128, 256, 512], start_level=0),
)
