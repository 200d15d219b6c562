_base_ = './default_runtime.py'

default_scope = 'mmseg'

default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    # not 'auto', which would take the first figure of the evaluator (aAcc)
    checkpoint=dict(by_epoch=False, interval=8000, save_best='mIoU'),
    visualization=dict(type='SegVisualizationHook'),
)
env_cfg = dict(cudnn_benchmark=True)  # crops are of one size
visualizer = dict(type='SegLocalVisualizer')
log_processor = dict(by_epoch=False)
