"""Upsampling by a factor is mmseg's at sizes other than the one that was traced."""

import numpy as np
import pytest
import torch
from mmseg.models.utils import Upsample

AXES = {'input': {0: 'batch', 2: 'height', 3: 'width'}, 'output': {0: 'batch', 2: 'height', 3: 'width'}}


@pytest.mark.parametrize('factor', [2, 1.5])
def test_other_sizes_than_the_traced_one(exported, factor):
    upsample = Upsample(scale_factor=factor, mode='bilinear', align_corners=False)
    function = exported(upsample, torch.rand(1, 3, 8, 8), dynamic_axes=AXES)
    for shape in ((1, 3, 8, 8), (2, 3, 5, 14), (1, 3, 1, 7)):
        x = torch.rand(shape)
        (found,) = function(x)
        assert found.shape == upsample(x).shape
        np.testing.assert_allclose(found, upsample(x).numpy(), atol=1e-6)


def test_a_fixed_size_stays(exported):
    upsample = Upsample(size=(6, 9), mode='bilinear', align_corners=False)
    function = exported(upsample, torch.rand(1, 3, 8, 8), dynamic_axes=AXES)
    x = torch.rand(1, 3, 5, 4)
    np.testing.assert_allclose(function(x)[0], upsample(x).numpy(), atol=1e-6)
