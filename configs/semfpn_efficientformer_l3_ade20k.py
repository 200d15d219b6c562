# Recipe: published, see semfpn_efficientformer_l1_ade20k.py.
_base_ = './semfpn_efficientformer_l1_ade20k.py'

model = dict(
    backbone=dict(arch='l3', init_cfg=dict(checkpoint='checkpoints/efficientformer_l3_in1k.pth')),
    neck=dict(in_channels=_base_.widths.l3),
)
