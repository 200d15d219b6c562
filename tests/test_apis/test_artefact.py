"""An artefact is evaluated on the same images by the same measure as the checkpoint, and gives the same figures."""

import pickle

import pytest
from mmdet.datasets import CocoDataset
from mmengine.registry import TRANSFORMS

from mmtrtvit.apis import evaluate, evaluate_artefact, load_config
from mmtrtvit.apis.artefact import follow_artefact
from mmtrtvit.errors import ConfigError, DataError, DeployError


@pytest.fixture(scope='module')
def options(annotate):
    return {'test_evaluator.ann_file': str(annotate({}))}


@pytest.fixture(scope='module')
def evaluated(toy, toy_checkpoint, deployed, options, tmp_path_factory):
    """Metrics of both, and the folder with predictions and drawings of the artefact."""
    folder = tmp_path_factory.mktemp('evaluated')
    ours = evaluate(toy.config, str(toy_checkpoint), work_dir=str(folder / 'ours'), cfg_options=options)
    theirs = evaluate_artefact(
        toy.config,
        str(deployed.folder),
        work_dir=str(folder / 'theirs'),
        out=str(folder / 'found.pkl'),
        show_dir=str(folder / 'shown'),
        cfg_options=options,
    )
    return ours, theirs, folder


def test_metrics_are_those_of_pytorch(evaluated):
    ours, theirs, _ = evaluated
    assert set(ours) == set(theirs) and {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP'} <= set(ours)
    assert 0.2 < ours['coco/bbox_mAP'] < 0.9 and 0.2 < ours['coco/segm_mAP'] < 0.9
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, abs=0.002), name


def test_tiles(evaluated, toy, deployed, options, tmp_path):
    """Images that a tile covers give the same figures, smaller tiles others."""

    def run(tile):
        return evaluate_artefact(
            toy.config, str(deployed.folder), work_dir=str(tmp_path), cfg_options=options, tile=tile, overlap=0.4
        )['coco/bbox_mAP']

    whole = evaluated[1]['coco/bbox_mAP']
    assert run((1000, 1000)) == whole
    assert 0 < run(160) != whole
    with pytest.raises(ConfigError, match='The tile is'):
        run((0, 9))


def test_predictions_are_written(evaluated, toy):
    found = pickle.loads((evaluated[2] / 'found.pkl').read_bytes())
    assert len(found) == len(toy.images)
    assert {'bboxes', 'labels', 'scores', 'masks'} <= set(found[0]['pred_instances'])


def test_predictions_are_drawn(evaluated, toy):
    assert {path.stem for path in evaluated[2].glob('shown/*.png')} == {path.stem for path in toy.images}


def test_predictions_need_a_pickle(toy, deployed, tmp_path):
    with pytest.raises(ConfigError, match=r'--out found.json.*\n.*\.pkl'):
        evaluate_artefact(toy.config, str(deployed.folder), work_dir=str(tmp_path), out='found.json')


def test_classes_of_another_data_set_are_not_scored(root):
    """Though the config leaves the classes to its data set."""
    config = load_config(root / 'configs' / 'retinanet_trtvit_b_coco.py')
    assert 'metainfo' not in config.test_dataloader.dataset
    manifest = {'task': 'detection', 'method': 'RetinaNet'}
    classes = list(CocoDataset.METAINFO['classes'])
    assert follow_artefact(config, {**manifest, 'classes': classes}).test_dataloader.batch_size == 1
    for others in (classes[::-1], classes[:7], []):
        with pytest.raises(DeployError, match=rf'RetinaNet, {len(others)} classes\) was not exported from this config'):
            follow_artefact(config, {**manifest, 'classes': others})


def test_the_pipeline_leaves_images_to_the_artefact_though_it_holds_classes(root):
    config = load_config(root / 'configs' / 'retinanet_trtvit_b_coco.py')
    for step in config.test_dataloader.dataset.pipeline:
        step.type = TRANSFORMS.get(f'mmdet.{step.type}')
    manifest = {'task': 'detection', 'classes': list(CocoDataset.METAINFO['classes'])}
    names = [step['type'].__name__ for step in config.test_dataloader.dataset.pipeline]
    assert 'Resize' in names
    followed = follow_artefact(config, manifest).test_dataloader.dataset.pipeline
    assert [step['type'].__name__ for step in followed] == [name for name in names if name != 'Resize']


def test_data_sets_that_are_joined_are_evaluated(toy, deployed, tmp_path):
    options = {
        'test_dataloader.dataset': dict(
            _delete_=True, type='ConcatDataset', datasets=[load_config(toy.config).test_dataloader.dataset.to_dict()]
        )
    }
    found = evaluate_artefact(toy.config, str(deployed.folder), work_dir=str(tmp_path), cfg_options=options)
    assert 'coco/bbox_mAP' in found


def test_data_is_checked_first(toy, deployed, tmp_path):
    missing = {'test_dataloader.dataset.data_root': str(tmp_path / 'none')}
    with pytest.raises(DataError, match='data root .*none does not exist'):
        evaluate_artefact(toy.config, str(deployed.folder), work_dir=str(tmp_path), cfg_options=missing)
