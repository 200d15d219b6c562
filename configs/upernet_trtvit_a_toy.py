# UperNet on TRT-ViT-A, on the embedded data set (`python tools/make_toy_data.py --out data/toy`): a background and
# six shapes, at most 160 x 160. It learns from scratch in minutes on two CPU cores: the heads are narrow. For
# everything else it is configs/upernet_trtvit_a_ade20k.py.
_base_ = './upernet_trtvit_a_ade20k.py'

# mmseg's ADE20KDataset knows the 150 classes of ADE20K only; files are laid out in the same way.
dataset_type = 'BaseSegDataset'
data_root = '{{$MMTRTVIT_DATA_ROOT:data}}/toy/ade/ADEChallengeData2016/'
metainfo = dict(
    classes=('background', 'disc', 'rectangle', 'triangle', 'star', 'cross', 'ring'),
    palette=[
        (120, 120, 120),
        (230, 25, 75),
        (60, 180, 75),
        (255, 225, 25),
        (0, 130, 200),
        (245, 130, 48),
        (145, 30, 180),
    ],
)
channels = 64
crop_size = (160, 160)

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(drop_path_rate=0.0),
    decode_head=dict(channels=channels, num_classes=7),
    auxiliary_head=dict(channels=channels, num_classes=7),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', scale=crop_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop_size, keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
toy_dataset = dict(
    type=dataset_type,
    data_root=data_root,
    metainfo=metainfo,
    img_suffix='.jpg',
    seg_map_suffix='.png',
    reduce_zero_label=True,
)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline, **toy_dataset))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline, **toy_dataset))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=900, val_interval=900)
# bfloat16 where the network runs on a CPU, and one parameter group (no paramwise settings): both are quicker
optim_wrapper = dict(
    type='mmtrtvit.CPUAmpOptimWrapper',
    optimizer=dict(lr=1e-3, fused=True),
    paramwise_cfg=None,
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=900, T_max=900, eta_min=1e-5),
]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=300, max_keep_ckpts=1, save_best=None))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (128, 160, 192)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations', reduce_zero_label=True)],
            [dict(type='PackSegInputs')],
        ],
    ),
]
