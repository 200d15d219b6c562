# 12 epochs of AdamW. TRT-ViT's own detection recipe is not published: this is the one of the authors' next paper
# (Next-ViT, official configs: AdamW 1e-4, weight decay 0.05 but none on norms, linear warm-up of 500 iterations).
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        # position embeddings, attention biases and LayerScale, where a backbone has them
        custom_keys={name: dict(decay_mult=0.0) for name in ('position', 'attention_biases', 'gamma')},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]

# 8 GPUs with 2 images each; `tools/train.py --auto-scale-lr` scales the learning rate to the batch that is really used.
auto_scale_lr = dict(enable=False, base_batch_size=16)
