"""An artefact of ``tools/deploy.py``, loaded as a function of an image."""

import functools
import itertools
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from ..errors import ConfigError, DataError
from ..processor import processor, saturates
from .backends import BACKENDS
from .manifest import read_manifest
from .network import Network, open_network
from .postprocess import ClassScores, Detections, LabelMap, class_scores, detections, label_map
from .preprocess import Frame, ImageLike, Preprocessing, read_image
from .streams import run_streams
from .tensor_names import OUTPUT
from .tiles import check_tiling, merge, tiles_of
from .windows import Window, slide

Result = Detections | LabelMap | ClassScores

BATCH_SIZE = 8
"""Images that go through the network together, at most, unless the caller gives another number."""

OVERLAP = 0.2
"""Least share of a tile that the next one covers again, unless the caller gives another number."""


class Predictor:
    """Finds objects or classes in images, or the class of an image.

    Needs NumPy, OpenCV and the backend, but not PyTorch, OpenMMLab or the training config. Any number of threads may
    call it at the same time. Pickling one of :func:`load` keeps the folder and the options; unpickling loads it again.

    Args:
        manifest: The manifest, already checked.
        network: The network.

    Attributes:
        manifest: The manifest.
        network: The network.
    """

    _loaded: tuple[str, dict] | None = None

    def __init__(self, manifest: Mapping, network: Network) -> None:
        self.manifest = manifest
        self.network = network
        self._preprocessing = Preprocessing.from_manifest(manifest['preprocessing'])
        self._window = Window.from_manifest(manifest['window']) if 'window' in manifest else None
        self._classes = tuple(manifest['classes'])
        self._palette = np.array(manifest['palette'], np.uint8).reshape(-1, 3)

    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        batch_size: int = BATCH_SIZE,
        rgb: bool = False,
        tile: Sequence[int] | int | None = None,
        overlap: float = OVERLAP,
    ) -> Result | list[Result]:
        """Run the network on one image or on several.

        Args:
            image: ``(H, W, 3)`` uint8, BGR as read by ``cv2.imread``; ``(H, W)`` uint8, grey; a PIL image; or the path
                of a file. Or a list of these.
            batch_size: As in :meth:`stream`.
            rgb: Whether arrays have red first, as other libraries than OpenCV give them.
            tile: Height and width of tiles, or one number for both. An image that is larger goes through the network
                in such tiles, each of which is resized and padded as an image of its own. None for whole images.
            overlap: Least share of a tile that the next one covers again. It should be as large as most objects.

        Returns:
            :class:`Detections`, :class:`LabelMap` or :class:`ClassScores`; a list of them for a list of images.

        Raises:
            ConfigError: If the batch size, the tile or the overlap is invalid.
            DataError: If an image is invalid or cannot be read.
            DeployError: If the network does not accept its size.
        """
        several = isinstance(image, (list, tuple))
        images = cast(Sequence[ImageLike], image) if several else [cast(ImageLike, image)]
        results = list(self.stream(images, batch_size=batch_size, rgb=rgb, tile=tile, overlap=overlap))
        return results if several else results[0]

    def stream(
        self,
        images: Iterable[ImageLike],
        *,
        batch_size: int = BATCH_SIZE,
        rgb: bool = False,
        tile: Sequence[int] | int | None = None,
        overlap: float = OVERLAP,
    ) -> Iterator[Result]:
        """Run the network on any number of images, a batch at a time.

        Images are taken from the iterable as they are needed, and no more than one batch is held in memory, or one for
        each of several streams (see :func:`load`). On a GPU, images of a batch that need the same input size go through
        the network together. On a CPU, each goes through it alone, and its result equals that of a single call bit for
        bit.

        Args:
            images: Images as in :meth:`__call__`, for example a generator.
            batch_size: Maximum number of images that go through the network together.
            rgb, tile, overlap: As in :meth:`__call__`.

        Yields:
            The result of each image, in order.

        Raises:
            ConfigError, DataError, DeployError: As :meth:`__call__`; for an image, when its turn comes.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f'The batch size is {batch_size!r}.', expected='1 or more', fix='give such a number')
        one = isinstance(images, (str, os.PathLike)) or (isinstance(images, np.ndarray) and images.ndim < 4)
        if one or not isinstance(images, Iterable):
            raise DataError(
                f'One image was given where several are expected ({type(images).__name__}).',
                expected='a list, a generator or another iterable of images',
                fix='put the image into a list',
            )
        batch_size = min(batch_size, self.network.most or batch_size)
        arrays = (read_image(image, rgb) for image in images)
        sides = check_tiling(tile, overlap, self.manifest['task'])
        return self._results(arrays, batch_size) if sides is None else self._tiled(arrays, batch_size, sides, overlap)

    def _tiled(
        self, images: Iterator[np.ndarray], batch_size: int, tile: tuple[int, int], overlap: float
    ) -> Iterator[Result]:
        for image in images:
            size = image.shape[0], image.shape[1]
            tiles = tiles_of(size, tile, overlap)
            results = self._results((place.of(image) for place in tiles), batch_size)
            yield merge(cast(Iterator[Detections | LabelMap], results), tiles, size)

    def _results(self, images: Iterator[np.ndarray], batch_size: int) -> Iterator[Result]:
        batches = iter(lambda: list(itertools.islice(images, batch_size)), [])
        for found in run_streams(self._batch, batches, self.network.session.streams):
            while found:
                yield found.popleft()

    def _batch(self, images: Sequence[np.ndarray]) -> deque[Result]:
        found = {place: self.result(outputs, frame) for place, outputs, frame in self._run(images)}
        return deque(found[place] for place in range(len(found)))

    def outputs(self, image: ImageLike) -> tuple[dict[str, np.ndarray], Frame]:
        """The outputs of the network for one image, and the position of the image in the input.

        :meth:`result` turns them into the result of a call. Use both to inspect raw outputs.
        """
        ((_, outputs, frame),) = self._run([read_image(image)])
        return outputs, frame

    def _run(self, images: Sequence[np.ndarray]) -> Iterator[tuple[int, dict[str, np.ndarray], Frame]]:
        """Index, outputs and frame of each image, in batches of images with the same input size."""
        together: dict[tuple[int, int], list[int]] = {}
        for place, image in enumerate(images):
            together.setdefault(self._preprocessing.shape(self._preprocessing.frame(image)), []).append(place)
        for places in together.values():
            batch, frames = self._preprocessing([images[place] for place in places])
            if self._window is None:
                found = self.network(batch)
            else:
                found = [slide(self.network, image, self._window) for image in batch]
            yield from zip(places, found, frames, strict=True)

    def __reduce__(self) -> tuple:
        if self._loaded is None:
            return self.network.session.__reduce__()
        folder, options = self._loaded
        return functools.partial(load, **options), (folder,)

    def __repr__(self) -> str:
        given, session = self.manifest, self.network.session
        shape = ' x '.join(str(side) if str(side).isdigit() else '*' for side in session.inputs[0].shape)
        return (
            f'Predictor({given["method"]} for {given["task"]}, {len(self._classes)} classes, input {shape}, '
            f'{given["precision"]}, {given["backend"]} on {session.device})'
        )

    def result(self, outputs: Mapping[str, np.ndarray], frame: Frame) -> Result:
        """Turn the outputs of the network for one image into its result."""
        if self.manifest['task'] == 'classification':
            return class_scores(outputs, self._classes)
        if self.manifest['task'] == 'segmentation':
            return LabelMap(label_map(outputs[OUTPUT], frame), self._classes, self._palette)
        threshold = self.manifest['postprocessing'].get('mask_threshold')
        return detections(outputs, frame, self._classes, threshold)


def _warn_of_saturation(manifest: Mapping, device: str | None) -> None:
    """Warn of INT8 that is computed less exactly here than where it was proved, as far as the manifest tells."""
    on_cpu = (device or BACKENDS[manifest['backend']].devices[0]).lower() == 'cpu'
    told = manifest.get('processor')
    proved_on = told.get('features') if isinstance(told, Mapping) else None
    if manifest['precision'] != 'int8' or not on_cpu or not proved_on or saturates(proved_on):
        return
    here = processor()
    if saturates(here['features']):
        warnings.warn(
            f'INT8 without VNNI: {here["name"]} cuts sums of two products off at 16 bits, and the CPU that proved '
            'this network did not, so results may differ. Fix: evaluate the folder here, with tools/test.py CONFIG '
            '--backend-dir, or deploy in another precision.',
            stacklevel=3,
        )


def load(
    folder: str | os.PathLike,
    *,
    threads: int | None = None,
    streams: int | None = None,
    device: str | None = None,
) -> Predictor:
    """Load an artefact that ``tools/deploy.py`` wrote.

    Args:
        folder: The folder of the artefact.
        threads: Threads to use, if the backend has this option (ONNX Runtime, OpenVINO).
        streams: Images of a list or stream that are worked on at the same time, each on its share of the threads, if
            the backend has this option. More images a second, each of which takes longer, and more memory. 1 by
            default.
        device: ``'cpu'`` or ``'cuda'`` for ONNX Runtime; ``'cpu'``, ``'gpu'``, ``'npu'`` or ``'auto'`` for OpenVINO.
            The first is the default.

    Returns:
        A predictor, called with an image.

    Raises:
        DeployError: If the artefact is incomplete or was changed, or its backend is missing or cannot load it.

    Warns:
        If it is INT8 and this CPU, unlike that of its proof, computes INT8 less exactly.
    """
    manifest = read_manifest(folder)
    _warn_of_saturation(manifest, device)
    options: dict[str, Any] = dict(threads=threads, streams=streams, device=device)
    predictor = Predictor(manifest, open_network(folder, manifest, **options))
    predictor._loaded = os.path.abspath(folder), options
    return predictor
