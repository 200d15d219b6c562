# Two epochs of a few hundred iterations: a line of the log for every 10, and the last checkpoint only.
_base_ = './default_runtime.py'

default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1, save_best=None))
