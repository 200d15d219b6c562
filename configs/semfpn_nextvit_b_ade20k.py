# Recipe: adapted, see semfpn_nextvit_s_ade20k.py.
_base_ = './semfpn_nextvit_s_ade20k.py'

model = dict(
    backbone=dict(
        arch='b',
        init_cfg=dict(checkpoint='checkpoints/nextvit_b_in1k.pth'),
    )
)
