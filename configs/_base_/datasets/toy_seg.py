# The toy data set (`python tools/make_toy_data.py --out data/toy`) for segmentation: a background and six shapes,
# at most 128 x 128, as the detectors have them. Its colours carry no information, so hues are shifted at random:
# otherwise a network memorises every shape, and fails on photographs of a colour that it never saw. For everything else
# it is ade20k.py.
_base_ = './ade20k.py'

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
crop_size = (128, 128)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=crop_size, ratio_range=(0.75, 1.33), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', hue_delta=90),
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

tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (96, 128, 160)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations', reduce_zero_label=True)],
            [dict(type='PackSegInputs')],
        ],
    ),
]
