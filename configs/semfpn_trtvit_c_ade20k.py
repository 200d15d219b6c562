_base_ = './semfpn_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='c'),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
