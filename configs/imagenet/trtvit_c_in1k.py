_base_ = './trtvit_b_in1k.py'

model = dict(backbone=dict(arch='c', drop_path_rate=0.2), head=dict(in_channels=_base_.widths.c[-1]))
