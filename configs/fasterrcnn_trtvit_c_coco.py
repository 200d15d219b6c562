_base_ = './fasterrcnn_trtvit_b_coco.py'

model = dict(
    backbone=dict(arch='c', drop_path_rate=0.2),
    neck=dict(in_channels=_base_.widths.c),
)
