# 30 epochs at a higher resolution, after adamw_300e.py. TRT-ViT's own recipe is not published: this is the one of the
# authors' next paper (Next-ViT, official command line: AdamW 5e-6 for 512 images, weight decay 1e-8, no warm-up, the
# rate as it is until the end).
_base_ = './adamw_300e.py'

train_cfg = dict(max_epochs=30)
optim_wrapper = dict(optimizer=dict(lr=5e-6, weight_decay=1e-8))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=True, begin=0, end=30)]

# 8 GPUs with 64 images each; `tools/train.py --auto-scale-lr` scales the learning rate to the batch really used.
auto_scale_lr = dict(base_batch_size=512)
