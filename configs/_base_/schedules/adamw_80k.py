# 80k iterations of 16 images for Semantic FPN. TRT-ViT's own recipe is not published: this is the one of the authors'
# next paper (Next-ViT, official configs: AdamW 1e-4, weight decay 1e-4, polynomial decay of power 0.9 to 1e-6). Their
# config runs 40k iterations of 32 images, which their tables call 80k; this is the same number of images.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-4),
    # position embeddings, attention biases and LayerScale, where a backbone has them
    paramwise_cfg=dict(custom_keys={name: dict(decay_mult=0.0) for name in ('position', 'attention_biases', 'gamma')}),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-6, begin=0, end=80000, by_epoch=False)]

# 4 GPUs with 4 images each; `tools/train.py --auto-scale-lr` scales the learning rate to the batch that is really used.
auto_scale_lr = dict(enable=False, base_batch_size=16)
