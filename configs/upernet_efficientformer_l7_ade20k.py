# Recipe: adapted, see upernet_efficientformer_l1_ade20k.py.
_base_ = './upernet_efficientformer_l1_ade20k.py'

model = dict(
    backbone=dict(arch='l7', init_cfg=dict(checkpoint='checkpoints/efficientformer_l7_in1k.pth')),
    decode_head=dict(in_channels=_base_.widths.l7),
    auxiliary_head=dict(in_channels=_base_.widths.l7[2]),
)
