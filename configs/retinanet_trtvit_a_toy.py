# RetinaNet on TRT-ViT-A, on the embedded data set (`python tools/make_toy_data.py --out data/toy`): six shapes on
# real photographs, at most 128 x 128. It learns from scratch in minutes on two CPU cores: FPN and head are narrow, with
# BatchNorm, as training from scratch needs it. For everything else it is configs/retinanet_trtvit_a_coco.py.
_base_ = './retinanet_trtvit_a_coco.py'

data_root = '{{$MMTRTVIT_DATA_ROOT:data}}/toy/coco/'
metainfo = dict(
    classes=('disc', 'rectangle', 'triangle', 'star', 'cross', 'ring'),
    palette=[(230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180)],
)
channels = 64
norm_cfg = dict(type='BN')

model = dict(
    backbone=dict(drop_path_rate=0.0),
    neck=dict(out_channels=channels, norm_cfg=norm_cfg),
    bbox_head=dict(num_classes=6, in_channels=channels, feat_channels=channels, stacked_convs=2, norm_cfg=norm_cfg),
    test_cfg=dict(max_per_img=20),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=4, val_interval=4)
# bfloat16 where the network runs on a CPU, and one parameter group (no paramwise settings): both are quicker
optim_wrapper = dict(
    type='mmtrtvit.CPUAmpOptimWrapper',
    optimizer=dict(lr=1e-3, fused=True),
    paramwise_cfg=None,
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=4, T_max=4, eta_min=1e-5, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1, save_best=None))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (96, 128, 160)],
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                    ),
                )
            ],
        ],
    ),
]
