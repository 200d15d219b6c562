"""An artefact of ``tools/deploy.py``, loaded as a function of an image."""

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
    """Finds objects or classes in images.

    Needs NumPy, OpenCV and the backend, but not PyTorch, OpenMMLab or the training config.

    Args:
        manifest: The manifest, already checked.
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
        """Run the network on one image or on several.

        Args:
            image: ``(H, W, 3)`` uint8, BGR as read by ``cv2.imread``, or the path of a file; or a list of these.
                Images of a list that need the same input size are batched. The result for an image does not depend
                on the others.

        Returns:
            :class:`Detections` or :class:`LabelMap`; a list of them for a list of images.

        Raises:
            DataError: If an image is invalid or cannot be read.
            DeployError: If the network does not accept its size.
        """
        images: Sequence[Image] = image if isinstance(image, (list, tuple)) else [cast(Image, image)]
        found = {place: self.result(outputs, frame) for place, outputs, frame in self._run(map(read_image, images))}
        results = [found[place] for place in range(len(images))]
        return results if isinstance(image, (list, tuple)) else results[0]

    def outputs(self, image: Image) -> tuple[dict[str, np.ndarray], Frame]:
        """The outputs of the network for one image, and the position of the image in the input.

        :meth:`result` turns them into the result of a call. Use both to inspect raw outputs.
        """
        ((_, outputs, frame),) = self._run([read_image(image)])
        return outputs, frame

    def _run(self, images: Iterable[np.ndarray]) -> Iterator[tuple[int, dict[str, np.ndarray], Frame]]:
        """Index, outputs and frame of each image, in batches of images with the same input size."""
        images = list(images)
        together: dict[tuple[int, int], list[int]] = {}
        for place, image in enumerate(images):
            together.setdefault(self._preprocessing.shape(self._preprocessing.frame(image)), []).append(place)
        for places in together.values():
            batch, frames = self._preprocessing([images[place] for place in places])
            yield from zip(places, self.network(batch), frames, strict=True)

    def result(self, outputs: Mapping[str, np.ndarray], frame: Frame) -> Result:
        """Turn the outputs of the network for one image into detections or a label map."""
        if self.manifest['task'] == 'segmentation':
            return LabelMap(label_map(outputs[OUTPUT], frame), self._classes, self._palette)
        threshold = self.manifest['postprocessing'].get('mask_threshold')
        return detections(outputs, frame, self._classes, threshold)


def load(folder: str | os.PathLike, *, threads: int | None = None, device: str | None = None) -> Predictor:
    """Load an artefact that ``tools/deploy.py`` wrote.

    Args:
        folder: The folder of the artefact.
        threads: Threads to use, if the backend has this option (ONNX Runtime, OpenVINO).
        device: ``'cpu'`` or ``'cuda'``, if the backend has this option (ONNX Runtime).

    Returns:
        A predictor, called with an image.

    Raises:
        DeployError: If the artefact is incomplete or was changed, or its backend is missing or cannot load it.
    """
    manifest = read_manifest(folder)
    return Predictor(manifest, open_network(folder, manifest, threads=threads, device=device))
