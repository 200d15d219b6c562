"""The runtime with its own requirements only: CI runs this file where neither torch nor OpenMMLab is installed."""

import numpy as np
import pytest

from mmtrtvit.errors import DataError, DeployError
from mmtrtvit.runtime import load
from tests.fixtures.plain import MEAN, SIDE, STD


@pytest.fixture(scope='module')
def artefact(plain_segmentor):
    return plain_segmentor()


def test_an_artefact_runs(artefact):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    wanted = ((image[..., ::-1] - np.array(MEAN)) / STD).argmax(-1)
    found = load(artefact)(image)
    np.testing.assert_array_equal(found.labels, wanted)
    assert set(found.names) == {'red', 'green', 'blue'}


def test_images_of_other_sizes_come_back_in_their_size(artefact):
    image = np.full((50, 70, 3), (200, 90, 10), np.uint8)  # BGR
    found = load(artefact)([image, image[:30]])
    assert [result.labels.shape for result in found] == [(50, 70), (30, 70)]
    assert set(found[0].labels.ravel()) == {2}


def test_what_cannot_be_used_is_refused(artefact, tmp_path):
    with pytest.raises(DataError):
        load(artefact)(tmp_path / 'none.png')
    with pytest.raises(DeployError, match='holds no exported artefact'):
        load(tmp_path)
