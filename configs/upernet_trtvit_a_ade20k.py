_base_ = './upernet_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='a'),
    decode_head=dict(in_channels=_base_.widths.a),
    auxiliary_head=dict(in_channels=_base_.widths.a[2]),
)
