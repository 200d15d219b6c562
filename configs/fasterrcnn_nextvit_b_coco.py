# Recipe: adapted, see fasterrcnn_nextvit_s_coco.py.
_base_ = './fasterrcnn_nextvit_s_coco.py'

model = dict(
    backbone=dict(
        arch='b',
        drop_path_rate=0.2,
        init_cfg=dict(checkpoint='checkpoints/nextvit_b_in1k.pth'),
    )
)
