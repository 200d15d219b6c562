"""Scenes of the toy data set: seeding, masks, visibility, and that only shape tells the class."""

import dataclasses

import numpy as np
import pytest

from mmtrtvit.datasets.toy import CLASSES, LICENCES, PHOTOGRAPHS, SPLITS, SceneSettings, make_scene
from mmtrtvit.datasets.toy import scene as scene_module
from mmtrtvit.datasets.toy.photographs import load_photograph
from mmtrtvit.errors import ConfigError, DataError

SETTINGS = SceneSettings()


@pytest.fixture(scope='module')
def scenes():
    return {name: [make_scene(0, name, index, SETTINGS) for index in range(40)] for name in SPLITS}


def test_same_arguments_same_scene(scenes):
    again = make_scene(0, 'train', 17, SceneSettings())
    np.testing.assert_array_equal(again.image, scenes['train'][17].image)
    np.testing.assert_array_equal(again.instances, scenes['train'][17].instances)
    assert again.labels == scenes['train'][17].labels


@pytest.mark.parametrize('seed, split, index', [(1, 'train', 17), (0, 'val', 17), (0, 'train', 16)])
def test_seed_split_and_index_each_change_the_scene(scenes, seed, split, index):
    other, this = make_scene(seed, split, index, SETTINGS), scenes['train'][17]
    assert other.image.shape != this.image.shape or not np.array_equal(other.instances, this.instances)


def test_photographs_are_kept_apart(scenes):
    files = {name: {p.file for p in PHOTOGRAPHS if p.split == name} for name in SPLITS}
    assert len(files['train']) >= 5 and len(files['val']) >= 4
    assert not files['train'] & files['val']
    for name, made in scenes.items():
        assert {scene.photograph.file for scene in made} <= files[name]
        assert len({scene.photograph.file for scene in made}) >= 4


def test_fills_come_from_the_photographs_of_the_split(monkeypatch):
    used = []
    real = scene_module.random_patch
    monkeypatch.setattr(
        scene_module, 'random_patch', lambda rng, photo, *rest: used.append(photo) or real(rng, photo, *rest)
    )
    for index in range(20):
        make_scene(0, 'val', index, SETTINGS)
    assert len(used) > 40 and {photo.split for photo in used} == {'val'}


def test_every_photograph_is_installed_and_licensed():
    for photograph in PHOTOGRAPHS:
        image = load_photograph(photograph)
        assert image.dtype == np.uint8 and image.shape[2] == 3 and min(image.shape[:2]) > 150
        assert image.std() > 5
        assert photograph.licence in LICENCES and photograph.credit


def test_missing_photograph_is_one_message():
    with pytest.raises(DataError, match='pip install'):
        load_photograph(dataclasses.replace(PHOTOGRAPHS[0], file='not_there.png'))


def test_sizes_vary_within_the_settings(scenes):
    shapes = np.array([scene.image.shape[:2] for made in scenes.values() for scene in made])
    low, high = SETTINGS.image_side
    assert shapes.min() >= low and shapes.max() <= high
    assert (shapes % 2 == 1).any() and (shapes[:, 0] != shapes[:, 1]).any()
    assert np.ptp(shapes) > 0.7 * (high - low)


def test_image_shows_exactly_what_the_masks_say(monkeypatch):
    """Objects painted in flat, known colours over black are found again pixel by pixel."""
    painted = []

    def paint(rng, canvas, mask, texture, settings):
        painted.append(mask)
        canvas[mask] = len(painted) / 255

    monkeypatch.setattr(scene_module, '_paint', paint)
    monkeypatch.setattr(scene_module, '_background', lambda rng, photo, h, w, s: np.zeros((h, w, 3), np.float32))
    occluded = 0
    for index in range(60):
        painted.clear()
        scene = make_scene(0, 'train', index, SETTINGS)
        for channel in range(3):
            np.testing.assert_array_equal(scene.image[..., channel], scene.instances)
        assert len(painted) == len(scene.labels) == scene.instances.max()
        for number, whole in enumerate(painted):
            occluded += scene.mask(number).sum() < whole.sum()
    assert occluded > 10


def test_objects_stay_visible_and_some_are_occluded_or_cut(monkeypatch):
    shares = []
    real = scene_module._place

    def place(rng, label, instances, whole_areas, settings):
        found = real(rng, label, instances, whole_areas, settings)
        if found is not None:
            current.append(found[1])
        return found

    monkeypatch.setattr(scene_module, '_place', place)
    monkeypatch.setattr(scene_module, '_paint', lambda *args: None)
    for index in range(80):
        current = []
        scene = make_scene(3, 'val', index, SETTINGS)
        assert len(current) == len(scene.labels) >= 1
        shares += [scene.mask(number).sum() / whole for number, whole in enumerate(current)]
    shares = np.array(shares)
    assert shares.min() >= SETTINGS.min_visible
    assert 0.1 < (shares < 0.95).mean() < 0.7


def test_classes_are_balanced(monkeypatch):
    monkeypatch.setattr(scene_module, '_paint', lambda *args: None)
    labels = [label for index in range(150) for label in make_scene(0, 'train', index, SETTINGS).labels]
    counts = np.bincount(labels, minlength=len(CLASSES))
    assert len(labels) / 150 == pytest.approx(4.0, abs=0.3)
    assert counts.min() > 0.6 * counts.mean() and counts.max() < 1.4 * counts.mean()


def test_objects_stand_out_from_what_surrounds_them(scenes):
    """The median object differs clearly in mean colour from the band of background around its box."""
    differences = []
    for scene in scenes['val']:
        for number in range(len(scene.labels)):
            mask = scene.mask(number)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            near = np.zeros_like(mask)
            near[max(0, rows[0] - 5) : rows[-1] + 6, max(0, columns[0] - 5) : columns[-1] + 6] = True
            near &= scene.instances == 0
            difference = scene.image[mask].mean(axis=0) - scene.image[near].mean(axis=0)
            differences.append(np.linalg.norm(difference))
    assert np.median(differences) > 60


def test_colour_does_not_tell_the_class(scenes):
    """Leave-one-out nearest neighbour in mean colour does about as well as guessing."""
    features, labels = [], []
    for scene in scenes['train'] + scenes['val']:
        for number, label in enumerate(scene.labels):
            features.append(scene.image[scene.mask(number)].mean(axis=0))
            labels.append(label)
    features, labels = np.array(features), np.array(labels)
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    accuracy = (labels[distances.argmin(axis=1)] == labels).mean()
    assert len(labels) > 150 and accuracy < 2 / len(CLASSES)


def test_objects_may_be_centred_on_the_image_edge():
    settings = SceneSettings(max_outside=0.499, min_visible=0.2)
    for index in range(40):
        assert make_scene(0, 'train', index, settings).labels


@pytest.mark.parametrize(
    'wrong',
    [
        {'objects': (3, 1)},
        {'objects': (0, 4)},
        {'image_side': (8, 200)},
        {'min_visible': 0.0},
        {'object_size': (0.2, 0.3, 0.4)},
        {'jpeg_quality': 101},
        {'aspect': 0.5},
    ],
)
def test_wrong_settings_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SceneSettings(**wrong)
