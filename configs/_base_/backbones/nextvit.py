# Next-ViT, from the weights that the authors trained on ImageNet (docs/next_vit.md: where to get and how to convert
# them). As in their detection configs the stem, the first stage and the statistics of BatchNorm are frozen. In their
# segmentation configs nothing is, and every stage ends with a norm, which ImageNet weights do not have.
backbone = dict(
    type='mmtrtvit.NextViT',
    arch='s',
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
    frozen_stages=1,
    norm_eval=True,
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/nextvit_s_in1k.pth'),
)
widths = dict(
    s=[96, 256, 512, 1024],
    b=[96, 256, 512, 1024],
    l=[96, 256, 512, 1024],
)
