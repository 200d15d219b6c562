_base_ = './trtvit_b_in1k.py'

model = dict(backbone=dict(arch='a'), head=dict(in_channels=_base_.widths.a[-1]))
