_base_ = './upernet_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='c'),
    decode_head=dict(in_channels=_base_.widths.c),
    auxiliary_head=dict(in_channels=_base_.widths.c[2]),
)
