_base_ = './default_runtime.py'

default_scope = 'mmpretrain'

default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(save_best='accuracy/top1'),
    visualization=dict(type='VisualizationHook', enable=False),
)
env_cfg = dict(cudnn_benchmark=True)  # images are of one size
visualizer = dict(type='UniversalVisualizer')
