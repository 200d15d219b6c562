_base_ = './upernet_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='d'),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
