"""Some images of a config's test split, and the metrics of the config's evaluator for them."""

import contextlib
import copy
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope

from ...config import datasets_of, prefixes_of
from ...errors import DataError
from ...runtime.preprocess import read_image
from .images import image_file, places


def has_test_data(config: Config) -> bool:
    """True if the images and annotations of the test split exist where the config says."""
    for dataset in datasets_of(config.test_dataloader.dataset):
        root = Path(dataset.get('data_root') or '.')
        if not all((root / prefix).is_dir() for prefix in ('', *prefixes_of(dataset).values())):
            return False
    return True


class Split:
    """Images of a test split, with their annotations: the first ones, or of each class where folders are classes.

    Args:
        config: The model config.
        images: Maximum number of images.

    Raises:
        DataError: If the split has no images.
    """

    def __init__(self, config: Config, images: int) -> None:
        init_default_scope(config.default_scope)
        settings = copy.deepcopy(config.test_dataloader.dataset)
        for dataset in datasets_of(settings):
            dataset['serialize_data'] = False  # an empty data set cannot be serialised
        self._evaluators = config.test_evaluator
        self._dataset = DATASETS.build(settings)
        self._length = min(images, len(self._dataset))
        self._places = places(config, len(self._dataset), self._length)
        if not self._length:
            raise DataError(
                f'The test split at {settings.get("data_root")} has no images.',
                expected='images to compare on',
                fix='correct test_dataloader.dataset of the config, or give an image by --image',
            )

    def __len__(self) -> int:
        return self._length

    @property
    def whole(self) -> bool:
        """True if these are all images of the test split."""
        return self._length == len(self._dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict]:
        """An image, ``(H, W, 3)`` uint8, BGR, and the result of the test pipeline for it.

        Raises:
            IndexError: Beyond the last image, which ends a loop over the split.
        """
        if not 0 <= index < self._length:
            raise IndexError(index)
        place = self._places[index]
        return read_image(image_file(self._dataset, place)), self._dataset[place]

    def evaluator(self) -> Evaluator:
        """The evaluator of the config, restricted to these images."""
        evaluators = copy.deepcopy(self._evaluators)
        # pycocotools prints pages of text; the report has the figures
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
                if evaluator.get('ann_file'):
                    evaluator.ann_file = str(self._annotations(evaluator.ann_file, Path(folder)))
            found = Evaluator(evaluators)
        found.dataset_meta = self._dataset.metainfo
        return found

    def _annotations(self, path: str, folder: Path) -> Path:
        """Copy a COCO file with these images only, in the order of the file and not of the ids."""
        content = json.loads(Path(path).read_text())
        ids = {self._dataset.get_data_info(place)['img_id'] for place in self._places}
        content['images'] = [image for image in content['images'] if image['id'] in ids]
        content['annotations'] = [item for item in content['annotations'] if item['image_id'] in ids]
        copied = folder / 'annotations.json'
        copied.write_text(json.dumps(content))
        return copied
