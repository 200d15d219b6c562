"""Test-time augmentation of a detector without masks."""

import pickle

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.apis import evaluate, load_config

CONFIG = """
_base_ = {base!r}

data_root = {data!r}
channels = 16
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M')
        )
    ),
    neck=dict(in_channels=[32, 32, 64, 64], out_channels=channels),
    bbox_head=dict(in_channels=channels, feat_channels=channels),
    test_cfg=dict(score_thr=0.0),
)
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, indices=2))
test_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
"""


@pytest.fixture
def retinanet(toy, root, tmp_path):
    config = tmp_path / 'tiny_retinanet.py'
    base = root / 'configs' / 'retinanet_trtvit_a_toy.py'
    config.write_text(CONFIG.format(base=str(base), data=f'{toy.data.as_posix()}/'))
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(load_config(config).model)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'tiny.pth')
    return config, str(tmp_path / 'tiny.pth')


def test_boxes_of_all_scales_are_merged_and_evaluated(retinanet, tmp_path):
    config, checkpoint = retinanet
    options = {f'tta_pipeline.1.transforms.0.{i}.scale': (side, side) for i, side in enumerate((96, 128, 160))}
    merged, plain = [
        (
            evaluate(
                config, checkpoint, work_dir=str(tmp_path / 'work'), out=str(tmp_path / 'x.pkl'), tta=tta, cfg_options=o
            ),
            pickle.loads((tmp_path / 'x.pkl').read_bytes()),
        )
        for tta, o in ((True, options), (False, {}))
    ]
    assert set(merged[0]) == set(plain[0]) and 'coco/bbox_mAP' in merged[0]
    for ours, theirs in zip(merged[1], plain[1], strict=True):
        assert ours['img_path'] == theirs['img_path'] and ours['ori_shape'] == theirs['ori_shape']
        boxes = ours['pred_instances']['bboxes']
        assert 0 < len(boxes) <= 100 and len(theirs['pred_instances']['bboxes']) <= 20
        height, width = ours['ori_shape']
        assert boxes.min() >= 0 and boxes[:, 2].max() <= width and boxes[:, 3].max() <= height
