# Segmentation of the embedded data set, from scratch in minutes on two CPU cores: 900 iterations of 16 images. That is
# too short to learn it well: Semantic FPN came to an mIoU of 0.54, and still rose.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=6000, val_interval=1500)
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
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=6000, T_max=6000, eta_min=1e-5),
]
auto_scale_lr = dict(enable=False, base_batch_size=4)
