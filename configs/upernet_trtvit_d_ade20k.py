_base_ = './upernet_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='d'),
    decode_head=dict(in_channels=_base_.widths.d),
    auxiliary_head=dict(in_channels=_base_.widths.d[2]),
)
