"""An artefact of ``tools/deploy.py`` as a function of an image."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np

from .manifest import read_manifest
from .network import Network, open_network
from .postprocess import Detections, LabelMap, detections, label_map
from .preprocess import Frame, Preprocessing, read_image
from .tensor_names import OUTPUT

Image = np.ndarray | str | os.PathLike
Result = Detections | LabelMap


class Predictor:
    """Finds what is in images.

    It needs NumPy, OpenCV and the backend; neither PyTorch nor OpenMMLab nor the training config.

    Args:
        manifest: The manifest, which was checked.
        network: The network.

    Attributes:
        manifest: The manifest.
        network: The network.
    """

    def __init__(self, manifest: Mapping, network: Network) -> None:
        self.manifest = manifest
        self.network = network
        self._preprocessing = Preprocessing.from_manifest(manifest['preprocessing'])
        self._classes = tuple(manifest['classes'])
        self._palette = np.array(manifest['palette'], np.uint8).reshape(-1, 3)

    def __call__(self, image: Image | Sequence[Image]) -> Result | list[Result]:
        """Find what is in one image, or in each of several.

        Args:
            image: ``(H, W, 3)`` uint8, BGR as ``cv2.imread`` gives it, or the path of a file; or a list of such.
                Images of a list that need the same input size go through the network together. The result of an
                image does not depend on the others.

        Returns:
            :class:`Detections` or :class:`LabelMap`, a list of them for a list.

        Raises:
            DataError: If an image is none or cannot be read.
            DeployError: If the network does not take its size.
        """
        images: Sequence[Image] = image if isinstance(image, (list, tuple)) else [cast(Image, image)]
        found = {place: self.result(outputs, frame) for place, outputs, frame in self._run(map(read_image, images))}
        results = [found[place] for place in range(len(images))]
        return results if isinstance(image, (list, tuple)) else results[0]

    def outputs(self, image: Image) -> tuple[dict[str, np.ndarray], Frame]:
        """The outputs of the network for one image, and where the image lies in its input.

        :meth:`result` makes of them what a call gives; they are for those who look closer.
        """
        ((_, outputs, frame),) = self._run([read_image(image)])
        return outputs, frame

    def _run(self, images: Iterable[np.ndarray]) -> Iterator[tuple[int, dict[str, np.ndarray], Frame]]:
        """Place, outputs and frame of each image, in batches of those that need the same input size."""
        images = list(images)
        together: dict[tuple[int, int], list[int]] = {}
        for place, image in enumerate(images):
            together.setdefault(self._preprocessing.shape(self._preprocessing.frame(image)), []).append(place)
        for places in together.values():
            batch, frames = self._preprocessing([images[place] for place in places])
            yield from zip(places, self.network(batch), frames, strict=True)

    def result(self, outputs: Mapping[str, np.ndarray], frame: Frame) -> Result:
        """What is in an image, by the outputs of the network for it."""
        if self.manifest['task'] == 'segmentation':
            return LabelMap(label_map(outputs[OUTPUT], frame), self._classes, self._palette)
        threshold = self.manifest['postprocessing'].get('mask_threshold')
        return detections(outputs, frame, self._classes, threshold)


def load(folder: str | os.PathLike, *, threads: int | None = None, device: str | None = None) -> Predictor:
    """Load what ``tools/deploy.py`` left in a folder.

    Args:
        folder: The folder.
        threads: Threads to use, where the backend lets one choose (ONNX Runtime, OpenVINO).
        device: ``'cpu'`` or ``'cuda'``, where the backend lets one choose (ONNX Runtime).

    Returns:
        A function of an image.

    Raises:
        DeployError: If the artefact is incomplete or was changed, or its backend is missing or cannot load it.
    """
    manifest = read_manifest(folder)
    return Predictor(manifest, open_network(folder, manifest, threads=threads, device=device))
