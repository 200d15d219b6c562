# Recipe: published, see nextvit_s_in1k.py.
_base_ = './nextvit_s_in1k.py'

model = dict(backbone=dict(arch='b', drop_path_rate=0.2))
