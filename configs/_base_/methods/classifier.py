# A classifier: the mean of the last map, then one linear layer; a config adds a backbone (_base_/backbones/) with the
# settings below, and the width of its last map. Mixup changes half of the batches, CutMix the others.
classes = 1000

# the last map alone, with the norm that detectors and segmentors do without; nothing is pretrained or frozen
as_classifier = dict(out_indices=(3,), final_norm=True, frozen_stages=-1, norm_eval=False, init_cfg=None)

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
        num_classes=classes,
    ),
    backbone=dict(),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=classes,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)], probs=[0.5, 0.5]),
)
