# Recipe: published, see maskrcnn_nextvit_s_3x_coco.py.
_base_ = './maskrcnn_nextvit_s_3x_coco.py'

model = dict(
    backbone=dict(
        arch='b',
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='checkpoints/nextvit_b_in1k.pth'),
    )
)
