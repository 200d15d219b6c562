"""Evaluation of a checkpoint: figures, predictions, drawings, test-time augmentation."""

import pickle

import cv2
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from pycocotools.mask import decode

from mmtrtvit.apis import evaluate, load_config
from mmtrtvit.checkpoint import load_checkpoint, read_checkpoint
from mmtrtvit.datasets.toy import CLASSES
from mmtrtvit.errors import CheckpointError, ConfigError, DataError


@pytest.fixture(scope='module')
def evaluated(toy, toy_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp('evaluated')
    metrics = evaluate(
        toy.config,
        str(toy_checkpoint),
        work_dir=str(folder / 'work'),
        out=str(folder / 'found.pkl'),
        show_dir=str(folder / 'shown'),
    )
    return metrics, folder


def test_boxes_and_masks_are_measured(evaluated):
    metrics, _ = evaluated
    for kind in ('bbox', 'segm'):
        for figure in ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m'):
            assert -1 <= metrics[f'coco/{kind}_{figure}'] <= 1


def test_predictions_are_written(evaluated, toy):
    found = pickle.loads((evaluated[1] / 'found.pkl').read_bytes())
    assert len(found) == len(toy.images)
    assert all(len(sample['pred_instances']['scores']) > 20 for sample in found)
    masks = decode(found[0]['pred_instances']['masks'])
    assert masks.shape[:2] == cv2.imread(str(toy.images[0])).shape[:2]
    assert masks.shape[2] == len(found[0]['pred_instances']['scores']) and 0 < masks.mean() < 1


def test_predictions_are_drawn_beside_the_truth(evaluated, toy):
    drawn = list(evaluated[1].glob('shown/*.png'))
    assert {path.stem for path in drawn} == {path.stem for path in toy.images}
    assert all(cv2.imread(str(path)).shape[1] > 1000 for path in drawn)


def test_figures_of_every_class(evaluated, toy, toy_checkpoint, tmp_path, capfd):
    metrics = evaluate(toy.config, str(toy_checkpoint), work_dir=str(tmp_path), per_class=True)
    by_class = [metrics[f'coco/{name}_precision'] for name in CLASSES]
    assert all(-1 <= figure <= 1 for figure in by_class)
    assert '| triangle ' in capfd.readouterr().out
    assert not [name for name in evaluated[0] if 'triangle' in name]


def test_weights_are_really_loaded(evaluated, toy, toy_run, tmp_path):
    evaluate(toy.config, str(toy_run / 'epoch_2.pth'), work_dir=str(tmp_path), out=str(tmp_path / 'found.pkl'))
    ours, theirs = (pickle.loads((folder / 'found.pkl').read_bytes()) for folder in (evaluated[1], tmp_path))
    assert ours[0]['pred_instances']['scores'].tolist() != theirs[0]['pred_instances']['scores'].tolist()


def test_a_config_that_resumes_does_not_replace_the_checkpoint(evaluated, toy, toy_run, toy_checkpoint, tmp_path):
    """A resumed run leaves such a config in its work dir, and mmengine would load the latest checkpoint of that."""
    (tmp_path / 'last_checkpoint').write_text(str(toy_run / 'epoch_2.pth'))
    out = tmp_path / 'found.pkl'
    evaluate(toy.config, str(toy_checkpoint), work_dir=str(tmp_path), out=str(out), cfg_options={'resume': True})
    ours, theirs = (pickle.loads(path.read_bytes()) for path in (evaluated[1] / 'found.pkl', out))
    assert ours[0]['pred_instances']['scores'].tolist() == theirs[0]['pred_instances']['scores'].tolist()


def test_augmentation_evaluates_boxes(toy, toy_checkpoint, tmp_path):
    options = {f'tta_pipeline.1.transforms.0.{i}.scale': (side, side) for i, side in enumerate((96, 128, 160))}
    options['test_dataloader.dataset.indices'] = 2
    metrics = evaluate(
        toy.config,
        str(toy_checkpoint),
        work_dir=str(tmp_path),
        tta=True,
        out=str(tmp_path / 'found.pkl'),
        cfg_options=options,
    )
    assert 'coco/bbox_mAP' in metrics and 'coco/segm_mAP' not in metrics
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())
    assert len(found) == 2
    for sample in found:
        assert len(sample['pred_instances']['scores']) > 0 and 'masks' not in sample['pred_instances']


def test_a_network_wrapped_for_several_processes_is_filled(toy, toy_checkpoint):
    config = load_config(toy.config)
    init_default_scope('mmdet')
    wrapped = torch.nn.DataParallel(MODELS.build(config.model))
    report = load_checkpoint(wrapped, toy_checkpoint)
    assert report.complete and not report.unexpected
    expected = read_checkpoint(toy_checkpoint)['state_dict']
    assert all(torch.equal(value, expected[name]) for name, value in wrapped.module.state_dict().items())


def test_augmentation_needs_its_settings(toy, toy_checkpoint, tmp_path):
    config = tmp_path / 'plain.py'
    text = toy.config.read_text().replace('_base_', '_based_on_')
    config.write_text(text)
    with pytest.raises(ConfigError, match='--tta: the config has no tta_model and no tta_pipeline'):
        evaluate(config, str(toy_checkpoint), work_dir=str(tmp_path / 'work'), tta=True)


def test_bad_input_is_told(toy, toy_run, toy_checkpoint, tmp_path):
    work_dir = str(tmp_path / 'work')
    with pytest.raises(ConfigError, match=r'--out found.json'):
        evaluate(toy.config, str(toy_checkpoint), work_dir=work_dir, out='found.json')
    with pytest.raises(DataError, match='data root no/such does not exist'):
        options = {'test_dataloader.dataset.data_root': 'no/such'}
        evaluate(toy.config, str(toy_checkpoint), work_dir=work_dir, cfg_options=options)
    with pytest.raises(CheckpointError, match='There is no checkpoint'):
        evaluate(toy.config, str(tmp_path / 'none.pth'), work_dir=work_dir)
    with pytest.raises(CheckpointError, match='does not belong to this network'):
        options = {'model.backbone.arch.depths': (1, 1, 1, 2)}
        evaluate(toy.config, str(toy_checkpoint), work_dir=work_dir, cfg_options=options)
