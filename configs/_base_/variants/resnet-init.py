# TRT-ViT-D starts from a ResNet, as `tools/convert_weights.py RESNET --family trtvit --out
# checkpoints/trtvit_d_resnet50.pth` writes it (another file: model.backbone.init_cfg.checkpoint). Its stem and first
# three stages are ResNet's and learn at rates that fall to a fifth at the stem; the stage of MixBlocks starts anew.
# Buys: early layers that have seen ImageNet, where no weights of TRT-ViT are published. Costs: one parameter group for
# each parameter, as layer-decay. The gain was not measured; a backbone that is pretrained as a whole is better.
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/trtvit_d_resnet50.pth')))
optim_wrapper = dict(
    constructor='mmtrtvit.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay=0.95),
)
