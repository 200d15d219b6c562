# 160k iterations of 16 images for UperNet. TRT-ViT's own recipe is not published: this is the one of the authors' next
# paper (Next-ViT, official configs: AdamW 6e-5, weight decay 0.01 but none on norms, 1500 iterations of linear warm-up,
# linear decay to 0).
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        # position embeddings, attention biases and LayerScale, where a backbone has them
        custom_keys={name: dict(decay_mult=0.0) for name in ('position', 'attention_biases', 'gamma')},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, end=160000, by_epoch=False),
]

# 4 GPUs with 4 images each; `tools/train.py --auto-scale-lr` scales the learning rate to the batch that is really used.
auto_scale_lr = dict(enable=False, base_batch_size=16)
