_base_ = './upernet_trtvit_b_ade20k.py'

model = dict(
    backbone=dict(arch='c'),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
