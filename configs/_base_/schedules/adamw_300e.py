# 300 epochs on ImageNet as the TRT-ViT paper has them: "the setting of Swin" (its config.py), batches of 1024, with
# gradients clipped at 1 where Swin has 5. AdamW 1e-3, weight decay 0.05 but none on norms and biases, 20 epochs of
# linear warm-up from 5e-7, cosine to 5e-6.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # position embeddings, attention biases and LayerScale, where a backbone has them
        custom_keys={name: dict(decay_mult=0.0) for name in ('position', 'attention_biases', 'gamma')},
    ),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-4, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=20, end=300, T_max=280, eta_min=5e-6, convert_to_iter_based=True
    ),
]

# 8 GPUs with 128 images each; `tools/train.py --auto-scale-lr` scales the learning rate to the batch really used.
auto_scale_lr = dict(enable=False, base_batch_size=1024)
