"""The photographs behind the scenes: those that scikit-image carries in its wheel, train and val apart."""

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage

from ...errors import DataError


@dataclass(frozen=True)
class Photograph:
    """A photograph and the half of the data set that it belongs to.

    Attributes:
        name: Its subject.
        file: File name in the ``data`` folder of scikit-image.
        split: Key of :data:`~mmtrtvit.datasets.toy.splits.SPLITS`.
        licence: Key of :data:`LICENCES`.
        credit: Who made it.
        region: Part to use, as shares of width and height: left, top, right, bottom.
    """

    name: str
    file: str
    split: str
    licence: int
    credit: str
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


#: COCO licence id: name and address.
LICENCES = {
    1: ('CC0 1.0 Universal', 'https://creativecommons.org/publicdomain/zero/1.0/'),
    2: ('Public domain', 'https://creativecommons.org/publicdomain/mark/1.0/'),
    3: ('No known copyright restrictions', 'https://www.flickr.com/commons/usage/'),
}

# Licences and credits as the docstrings of skimage.data state them; images without a stated licence are left
# out, and so are those full of discs (coins, colour wheel): they would be objects that nobody annotated.
PHOTOGRAPHS = (
    Photograph('astronaut', 'astronaut.png', 'train', 2, 'NASA'),
    Photograph('brick', 'brick.png', 'train', 1, 'CC0Textures'),
    Photograph('camera', 'camera.png', 'train', 1, 'Lav Varshney'),
    Photograph('coffee', 'coffee.png', 'train', 1, 'Rachel Michetti'),
    Photograph('gravel', 'gravel.png', 'train', 1, 'CC0Textures'),
    Photograph('tissue', 'ihc.png', 'train', 3, 'Center for Microscopy and Molecular Imaging'),
    Photograph('rocket', 'rocket.jpg', 'train', 2, 'SpaceX'),
    Photograph('cat', 'chelsea.png', 'val', 1, 'Stefan van der Walt'),
    Photograph('galaxies', 'hubble_deep_field.jpg', 'val', 2, 'NASA'),
    Photograph('grass', 'grass.png', 'val', 1, 'linolafett'),
    # The retina is a disc itself: only its inside is used.
    Photograph('retina', 'retina.jpg', 'val', 1, 'Mikael Haggstrom', (0.18, 0.18, 0.82, 0.82)),
    Photograph('handwriting', 'text.png', 'val', 2, 'Wikipedia'),
)


@functools.cache
def load_photograph(photograph: Photograph) -> np.ndarray:
    """Read a photograph from the installed scikit-image, without any download.

    Returns:
        uint8 array (H, W, 3), RGB, the photograph's region only. Shared between calls: not to be written to.

    Raises:
        DataError: If this scikit-image does not carry the file.
    """
    path = Path(skimage.__file__).parent / 'data' / photograph.file
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise DataError(
            f'scikit-image {skimage.__version__} has no readable photograph {path}.',
            expected='a scikit-image that carries its example photographs, as its wheels on PyPI do.',
            fix='pip install --force-reinstall --no-deps scikit-image',
        )
    height, width = image.shape[:2]
    left, top, right, bottom = photograph.region
    image = image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    image.setflags(write=False)
    return image


def random_patch(
    rng: np.random.Generator, photograph: Photograph, height: int, width: int, crop: tuple[float, float]
) -> np.ndarray:
    """A random crop of a photograph, randomly flipped, brought to a size without distortion.

    Args:
        rng: Source of the random choices.
        photograph: The photograph to cut from.
        height: Height of the patch, pixels.
        width: Width of the patch, pixels.
        crop: Lowest and highest size of the crop, as shares of the largest one that fits.

    Returns:
        float32 array (height, width, 3), RGB in [0, 1].
    """
    source = load_photograph(photograph)
    factor = min(source.shape[0] / height, source.shape[1] / width) * rng.uniform(*crop)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    top = rng.integers(source.shape[0] - rows + 1)
    left = rng.integers(source.shape[1] - columns + 1)
    patch = source[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    if rng.random() < 0.5:
        patch = patch[::-1]
    patch = cv2.resize(
        np.ascontiguousarray(patch),
        (width, height),
        interpolation=cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR,
    )
    return patch.astype(np.float32) / 255
