# ImageNet-1k at 384 x 384, as imagenet.py otherwise; the shorter side of a test image keeps its ratio to the crop.
_base_ = './imagenet.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1]['scale'] = 384
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = 438
test_pipeline[2]['crop_size'] = 384
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
