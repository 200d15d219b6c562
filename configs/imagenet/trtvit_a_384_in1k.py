_base_ = './trtvit_b_384_in1k.py'

model = dict(backbone=dict(arch='a'), head=dict(in_channels=_base_.widths.a[-1]))
load_from = 'work_dirs/trtvit_a_in1k/epoch_300.pth'
