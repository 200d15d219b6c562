# EfficientFormer, from the weights that the authors trained on ImageNet (docs/efficientformer.md: where to get and how
# to convert them). The norms on its outputs are new, as in their code.
backbone = dict(
    type='mmtrtvit.EfficientFormer',
    arch='l1',
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.0,
    frozen_stages=-1,
    norm_eval=False,
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/efficientformer_l1_in1k.pth'),
)
widths = dict(
    l1=[48, 96, 224, 448],
    l3=[64, 128, 320, 512],
    l7=[96, 192, 384, 768],
)
