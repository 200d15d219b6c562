# Recipe: published, see nextvit_s_384_in1k.py.
_base_ = './nextvit_s_384_in1k.py'

model = dict(backbone=dict(arch='l', drop_path_rate=0.2))
load_from = 'work_dirs/nextvit_l_in1k/epoch_300.pth'
