# TRT-ViT. Widths and depths are reconstructed (A, B: own choice), not published; nor are weights.
backbone = dict(
    type='mmtrtvit.TRTViT',
    arch='b',
    out_indices=(0, 1, 2, 3),
    drop_path_rate=0.1,
    frozen_stages=-1,
    norm_eval=False,
    init_cfg=None,
)
widths = dict(
    a=[128, 256, 512, 1024],
    b=[160, 320, 640, 1280],
    c=[192, 384, 768, 1536],
    d=[256, 512, 1024, 2048],
)
