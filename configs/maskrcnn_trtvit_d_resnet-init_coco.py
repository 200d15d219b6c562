# Mask R-CNN on a TRT-ViT-D that starts from a ResNet-50, as `tools/convert_weights.py RESNET --family trtvit --out
# checkpoints/trtvit_d_resnet50.pth` writes it: docs/weights.md says what is ResNet's then, and what starts anew.
# Recipe: adapted from that of maskrcnn_trtvit_d_coco.py. Warm-up is three times as long, as a random last stage changes
# the gradients of the others; what is loaded learns at 0.7 times the rate (stage 3) down to 0.2 times (stem).
_base_ = './maskrcnn_trtvit_d_coco.py'

model = dict(
    backbone=dict(init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='checkpoints/trtvit_d_resnet50.pth'))
)
optim_wrapper = dict(
    constructor='mmtrtvit.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay=0.95),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
