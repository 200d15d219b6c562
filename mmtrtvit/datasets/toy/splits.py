"""The two halves of the toy data set and their names in each layout."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """One half of the data set.

    Attributes:
        name: ``'train'`` or ``'val'``, as in :data:`SPLITS`.
        seed_key: Joins the seed of every scene, so that the halves never share one.
        coco: Folder name in the COCO layout; the annotation file is ``instances_<coco>.json``.
        first_image_id: COCO image id of the first image. COCO ids are unique over both halves.
        ade: Folder name in the ADE20K layout.
        ade_prefix: Prefix of the file names there.
    """

    name: str
    seed_key: int
    coco: str
    first_image_id: int
    ade: str
    ade_prefix: str


#: Most images that a split can hold: image ids of the two never meet.
MAX_IMAGES = 500_000

SPLITS = {
    'train': Split('train', 0, 'train2017', 1, 'training', 'ADE_train_'),
    'val': Split('val', 1, 'val2017', 1 + MAX_IMAGES, 'validation', 'ADE_val_'),
}
