"""Errors of libraries that the user can fix are told as such; defects keep their own."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import Registry

from mmtrtvit.errors import ConfigError, DataError, UserError, library_errors_explained


def raised_by(work):
    with pytest.raises(Exception) as caught, library_errors_explained():
        work()
    return caught.value


def test_a_worker_of_a_data_loader_names_the_image():
    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            raise OSError('failed to load image: train2017/000042.jpg')

    error = raised_by(
        lambda: list(torch.utils.data.DataLoader(Images(), num_workers=1, multiprocessing_context='fork'))
    )
    assert isinstance(error, DataError) and 'The image train2017/000042.jpg cannot be read.' in str(error)


def test_a_missing_file_is_named(tmp_path):
    error = raised_by((tmp_path / 'none.json').read_text)
    assert isinstance(error, DataError) and f'There is no file {tmp_path / "none.json"}.' in str(error)
    assert 'MMTRTVIT_DATA_ROOT' in str(error)


def test_an_unregistered_type_is_named():
    error = raised_by(lambda: Registry('model').build(dict(type='NoSuchDetector')))
    assert isinstance(error, ConfigError) and 'The type NoSuchDetector of the config' in str(error)


@pytest.mark.parametrize(
    ('text', 'kind', 'told'),
    [
        ('Target 7 is out of bounds.', DataError, 'A label map has the class 7'),
        (
            'Initialize dataset with `reduce_zero_label` as True but when load annotation the `reduce_zero_label` is '
            'False',
            ConfigError,
            'The data set has reduce_zero_label=True, but LoadAnnotations',
        ),
        ("new classes ['disc'] is not a subset of classes ('wall',) in METAINFO.", ConfigError, "['disc']"),
    ],
)
def test_segmentation_data_that_does_not_fit(text, kind, told):
    def fail():
        raise ValueError(text)

    error = raised_by(fail)
    assert isinstance(error, kind) and told in str(error) and 'Fix' in str(error)


def test_what_torch_says_of_a_label_without_a_class():
    scores, labels = torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 5)
    error = raised_by(lambda: torch.nn.functional.cross_entropy(scores, labels))
    assert isinstance(error, DataError) and 'has the class 5' in str(error)


def test_a_full_disk():
    error = raised_by(lambda: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    assert isinstance(error, ConfigError) and '--resume' in str(error)


@pytest.mark.parametrize('error', [ValueError('a defect'), KeyError('bboxes'), DataError('told already', fix='this')])
def test_anything_else_passes_unchanged(error):
    def fail():
        raise error

    assert raised_by(fail) is error


def test_the_cause_is_kept():
    error = raised_by(Path('/no/such/file').read_text)
    assert isinstance(error, UserError) and isinstance(error.__cause__, FileNotFoundError)
