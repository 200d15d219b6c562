# Recipe: adapted, see efficientformer_l1_in1k.py.
_base_ = './efficientformer_l1_in1k.py'

model = dict(backbone=dict(arch='l3'), head=dict(in_channels=_base_.widths.l3[-1]))
