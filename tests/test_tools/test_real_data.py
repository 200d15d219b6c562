"""Every family of configs trains and tests on real images: only the data root is set; fewer, smaller ones save time."""

import re

import pytest

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

COCO = [
    *(f'{split}_dataloader.dataset.pipeline.{step}.scale=(480,320)' for split, step in (('train', 2), ('test', 1))),
    'train_dataloader.dataset.indices=2',
    'train_cfg.max_epochs=1',
]
ADE = [
    'train_dataloader.dataset.pipeline.2.scale=(512,128)',
    'train_dataloader.dataset.pipeline.3.crop_size=(128,128)',
    'test_dataloader.dataset.pipeline.1.scale=(512,128)',
    'model.data_preprocessor.size=(128,128)',
    'train_dataloader.batch_size=2',
    'train_cfg.max_iters=2',
    'default_hooks.checkpoint.interval=2',
]
SCRATCH = [f'model.backbone.{setting}' for setting in ('init_cfg=None', 'frozen_stages=-1', 'norm_eval=False')]
FAMILIES = {
    'maskrcnn_trtvit_b_coco': (
        [*COCO, 'model.test_cfg.rcnn.score_thr=0.0', 'model.test_cfg.rcnn.max_per_img=5'],
        'epoch_1.pth',
        ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50'],
    ),
    'retinanet_trtvit_b_coco': (
        [*COCO, 'model.test_cfg.score_thr=0.0', 'model.test_cfg.max_per_img=5'],
        'epoch_1.pth',
        ['coco/bbox_mAP', 'coco/bbox_mAP_50'],
    ),
    'semfpn_trtvit_b_ade20k': (ADE, 'iter_2.pth', ['aAcc', 'mIoU', 'mAcc']),
    'upernet_trtvit_b_ade20k': (ADE, 'iter_2.pth', ['aAcc', 'mIoU', 'mAcc']),
    'maskrcnn_nextvit_s_coco': (
        [*COCO, *SCRATCH, 'model.test_cfg.rcnn.score_thr=0.0', 'model.test_cfg.rcnn.max_per_img=5'],
        'epoch_1.pth',
        ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50'],
    ),
    'semfpn_efficientformer_l1_ade20k': ([*ADE, *SCRATCH], 'iter_2.pth', ['aAcc', 'mIoU', 'mAcc']),
    'upernet_turbovit_ade20k': (ADE, 'iter_2.pth', ['aAcc', 'mIoU', 'mAcc']),
}
"""What makes it short, the checkpoint that it leaves, and the figures that are printed."""

COMMON = [
    'test_dataloader.dataset.indices=3',
    *(f'{split}_dataloader.num_workers=0' for split in ('train', 'test')),
    *(f'{split}_dataloader.persistent_workers=False' for split in ('train', 'test')),
    'val_dataloader=None',
    'val_cfg=None',
    'val_evaluator=None',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.save_optimizer=False',
    'default_hooks.checkpoint.save_best=None',
]


@pytest.mark.parametrize('name', FAMILIES)
def test_a_family_trains_and_tests(tool, root, real_data, tmp_path, monkeypatch, name):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', str(real_data))
    options, checkpoint, figures = FAMILIES[name]
    config, work_dir = root / 'configs' / f'{name}.py', tmp_path / 'work'
    changes = ['--work-dir', work_dir, '--cfg-options', *COMMON, *options]
    outcome = tool('train', config, *changes)
    assert outcome.status == 0, outcome.err[-3000:]
    losses = [float(loss) for loss in re.findall(r'\(train\).* loss: (\S+)', outcome.out)]
    assert losses and all(0 < loss < 1e4 for loss in losses), outcome.out[-2000:]

    outcome = tool('test', config, work_dir / checkpoint, *changes)
    assert outcome.status == 0, outcome.err[-3000:]
    last = outcome.out.strip().splitlines()[-1]
    for figure in figures:
        assert re.search(rf'\b{figure}: +-?[\d.]+', last), last
    if 'mIoU' in figures:
        assert '|         wall ' in outcome.out and '|         flag ' in outcome.out, 'the table of all classes'
