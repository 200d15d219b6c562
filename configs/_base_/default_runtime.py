custom_imports = dict(imports=['mmtrtvit'], allow_failed_imports=False)
default_scope = 'mmdet'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # as CheckpointHook, but a checkpoint is there whole or not at all, however the run ends. save_best='auto'
    # would take the first figure of the evaluator: with classwise=True the AP of one class
    checkpoint=dict(type='mmtrtvit.AtomicCheckpointHook', interval=1, max_keep_ckpts=3, save_best='coco/bbox_mAP'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # ends the run, with the last checkpoint kept, when loss or weights are not finite
    finite=dict(type='mmtrtvit.FiniteHook'),
    visualization=dict(type='DetVisualizationHook'),
    # random numbers depend on seed and iteration only: a resumed run repeats those of the uninterrupted one
    randomness=dict(type='mmtrtvit.RandomnessHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
