_base_ = './upernet_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='a'),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
