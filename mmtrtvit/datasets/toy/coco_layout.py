"""Scenes in the layout of COCO 2017: ``annotations/instances_*.json`` and one folder of JPEGs per split."""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as rle

from .photographs import LICENCES
from .scene import Scene
from .shapes import CLASSES
from .splits import Split

INFO = {
    'description': 'mmtrtvit toy data set: shapes on photographs of scikit-image',
    'url': '',
    'version': '1.0',
    'year': 2026,
    'contributor': 'mmtrtvit',
    'date_created': '2026/11/22',
}
CATEGORIES = [{'supercategory': 'shape', 'id': label + 1, 'name': name} for label, name in enumerate(CLASSES)]


class CocoSplit:
    """Collects the scenes of one split under ``folder`` and writes their annotation file.

    Args:
        folder: The folder that COCO calls its root.
        split: The half to write.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        self._split = split
        self._images_folder = folder / split.coco
        self._annotation_file = folder / annotation_file(split)
        self._images: list[dict] = []
        self._annotations: list[dict] = []
        self._images_folder.mkdir(parents=True)
        self._annotation_file.parent.mkdir(exist_ok=True)

    def add(self, index: int, scene: Scene, jpeg: bytes) -> None:
        """Write image ``index`` of the split and note its objects."""
        image_id = self._split.first_image_id + index
        name = image_name(self._split, index)
        (self._images_folder / name).write_bytes(jpeg)
        height, width = scene.instances.shape
        self._images.append(
            {
                'license': scene.photograph.licence,
                'file_name': name,
                'coco_url': '',
                'height': height,
                'width': width,
                'date_captured': '2026-11-22 00:00:00',
                'flickr_url': '',
                'id': image_id,
                'photograph': scene.photograph.name,
            }
        )
        for number, label in enumerate(scene.labels):
            # Compressed run lengths hold a mask exactly; polygons, which COCO prefers, would not.
            segmentation = rle.encode(np.asfortranarray(scene.mask(number), dtype=np.uint8))
            self._annotations.append(
                {
                    'segmentation': {
                        'size': [height, width],
                        'counts': segmentation['counts'].decode('ascii'),
                    },
                    'area': int(rle.area(segmentation)),
                    'iscrowd': 0,
                    'image_id': image_id,
                    'bbox': [float(side) for side in rle.toBbox(segmentation)],
                    'category_id': label + 1,
                    'id': image_id * 100 + number,
                }
            )

    def finish(self) -> None:
        """Write the annotation file."""
        content = {
            'info': INFO,
            'licenses': [{'url': url, 'id': key, 'name': name} for key, (name, url) in LICENCES.items()],
            'images': self._images,
            'annotations': self._annotations,
            'categories': CATEGORIES,
        }
        self._annotation_file.write_text(json.dumps(content), encoding='ascii')


def annotation_file(split: Split) -> str:
    """Path of the annotation file inside the COCO folder."""
    return f'annotations/instances_{split.coco}.json'


def image_name(split: Split, index: int) -> str:
    """File name of image ``index`` of a split: its COCO id, 12 digits."""
    return f'{split.first_image_id + index:012d}.jpg'


def coco_files(split: Split, images: int) -> list[str]:
    """Every file that a split of ``images`` images has, as paths inside the COCO folder."""
    return [annotation_file(split), *(f'{split.coco}/{image_name(split, index)}' for index in range(images))]
