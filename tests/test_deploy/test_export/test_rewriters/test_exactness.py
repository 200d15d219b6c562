"""What heads are told through the data samples, and what they say of their selection."""

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample

from mmtrtvit.deploy.export.rewriters.exactness import Exactness
from mmtrtvit.deploy.export.rewriters.image_extent import IMAGE_EXTENT
from mmtrtvit.deploy.export.rewriters.selection import EXACTNESS


@pytest.fixture
def prepared():
    """Two images of different size in one batch, their samples, and what is kept of the notes."""
    preprocessor = DetDataPreprocessor(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], pad_size_divisor=32)
    images = [torch.randint(1, 255, (3, *size), dtype=torch.uint8) for size in ((40, 50), (33, 90))]
    data = preprocessor(dict(inputs=images, data_samples=[DetDataSample() for _ in images]))
    exactness = Exactness.prepare(data['data_samples'], data['inputs'], preprocessor)
    return exactness, data['data_samples'], data['inputs']


def test_every_sample_tells_of_the_batch(prepared):
    _, samples, batch = prepared
    for sample in samples:
        assert sample.metainfo[IMAGE_EXTENT].tolist() == [[50, 40, 50, 40], [90, 33, 90, 33]]
        assert tuple(sample.metainfo['img_shape']) == tuple(batch.shape[2:]) == (64, 96)


def test_what_heads_note_in_any_sample_is_read(prepared):
    exactness, samples, _ = prepared
    results = torch.rand(2, 5, 5), torch.zeros(2, 5, dtype=torch.long)
    samples[0].metainfo[EXACTNESS].append(torch.tensor([1.0, 1.0]))
    samples[1].metainfo[EXACTNESS].append(torch.tensor([1.0, 0.0]))
    dets, labels, exact = exactness.append_to(results)
    assert dets is results[0] and labels is results[1] and exact.tolist() == [1.0, 0.0]
    samples[0].metainfo[EXACTNESS].append(torch.tensor([0.0, 1.0]))
    assert exactness.append_to(results)[2].tolist() == [0.0, 0.0]


def test_without_notes_nothing_is_added(prepared):
    exactness, _, _ = prepared
    results = [torch.rand(2, 5, 5), torch.zeros(2, 5, dtype=torch.long), torch.rand(2, 5, 28, 28)]
    assert exactness.append_to(results) == tuple(results)


def test_batches_do_not_share_notes(prepared):
    exactness, samples, batch = prepared
    other = Exactness.prepare([DetDataSample()], batch[:1], torch.nn.Identity())
    samples[0].metainfo[EXACTNESS].append(torch.tensor([0.0, 0.0]))
    assert len(exactness.notes) == 1 and other.notes == []
