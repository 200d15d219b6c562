# Segmentation of the toy data set, from scratch on a CPU: 8000 iterations of 4 images, about half an hour on one
# core. Random colours, sizes and crops slow learning down, but make the network right on photographs that it never
# saw: docs/toy_data.md has the scores.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# bfloat16 where the network runs on a CPU, and one parameter group (no paramwise settings): both are quicker
optim_wrapper = dict(
    type='mmtrtvit.CPUAmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=8000, T_max=8000, eta_min=1e-5),
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
