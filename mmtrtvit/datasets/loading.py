"""Errors of a data pipeline that name the image."""

from collections.abc import Iterator
from typing import Any

from mmengine.dataset import Compose

from ..errors import DataError, UserError, explain, place_of


class NamedCompose(Compose):
    """A data pipeline whose errors name the image that they are about.

    Args:
        pipeline: The pipeline to take the place of.
    """

    def __init__(self, pipeline: Compose) -> None:
        self.transforms = pipeline.transforms

    def __call__(self, data: dict) -> dict | None:
        path = data.get('img_path')
        try:
            return self._run(data)
        except UserError:
            raise
        except Exception as error:
            if path is None or explain(error) is not None:
                raise
            raise DataError(
                f'The image {path}, or its annotations, cannot be loaded: {type(error).__name__}: {error} '
                f'({place_of(error)})',
                expected='an image as large as its annotations say, with boxes, masks or a label map inside of it',
                fix='python tools/check_data.py CONFIG examines all images; correct the file, or take it out',
            ) from error

    def _run(self, data: dict) -> dict | None:
        sides = data.get('height'), data.get('width')
        for transform in self.transforms:
            data = transform(data)
            if data is None:
                return None
            if None not in sides and 'img' in data:  # just loaded
                height, width = data['img'].shape[:2]
                if (height, width) != sides:
                    raise DataError(
                        f'The image {data.get("img_path")} is {width} x {height}, its annotations are for '
                        f'{sides[1]} x {sides[0]}.',
                        expected='boxes in pixels of the image as it is read: turned if its EXIF orientation says so',
                        fix='use the images that were annotated; python tools/check_data.py CONFIG examines all',
                    )
                sides = None, None
        return data


def _innermost(dataset: Any) -> Iterator[Any]:
    """The data sets inside of wrappers and concatenations."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _innermost(part)
    elif hasattr(dataset, 'dataset'):
        yield from _innermost(dataset.dataset)
    else:
        yield dataset


def name_images_in_errors(dataset: Any) -> None:
    """Let the pipelines of a built data set name the image when they fail; see :class:`NamedCompose`."""
    for part in _innermost(dataset):
        if type(getattr(part, 'pipeline', None)) is Compose:
            part.pipeline = NamedCompose(part.pipeline)
