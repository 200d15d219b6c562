_base_ = './semfpn_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='d'),
    neck=dict(in_channels=_base_.widths.d),
)
