_base_ = './semfpn_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='a'),
    neck=dict(in_channels=_base_.widths.a),
)
