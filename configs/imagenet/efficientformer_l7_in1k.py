# Recipe: adapted, see efficientformer_l1_in1k.py.
_base_ = './efficientformer_l1_in1k.py'

model = dict(backbone=dict(arch='l7'), head=dict(in_channels=_base_.widths.l7[-1]))
