# Detection on the toy data set, from scratch in minutes on two CPU cores: 2 epochs of batches of 4. For everything
# else it is adamw_1x.py.
_base_ = './adamw_1x.py'

train_cfg = dict(max_epochs=2, val_interval=2)
# one parameter group (no paramwise settings) is quicker
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, fused=True),
    paramwise_cfg=None,
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=2, T_max=2, eta_min=1e-5, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=4)
