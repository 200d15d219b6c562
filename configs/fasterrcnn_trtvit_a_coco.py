_base_ = './fasterrcnn_trtvit_b_coco.py'

model = dict(
    backbone=dict(arch='a', drop_path_rate=0.1),
    neck=dict(in_channels=_base_.widths.a),
)
