# A stand-in for TurboViT. Its widths, depths and heads are reconstructed from derived totals: the architecture that the
# paper found is published only as a figure, without weights.
backbone = dict(
    type='mmtrtvit.TurboViT',
    arch='base',
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
    frozen_stages=-1,
    norm_eval=False,
    init_cfg=None,
)
widths = dict(base=[64, 128, 256, 512])
