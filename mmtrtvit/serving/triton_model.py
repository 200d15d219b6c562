"""The model of a repository of :mod:`mmtrtvit.serving.triton` from an image to its result.

It can be imported within Triton's Python backend only, which provides ``triton_python_backend_utils``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from ..errors import DeployError, UserError
from ..runtime.backends import Session, TensorSpec
from ..runtime.manifest import MANIFEST, check_content
from ..runtime.masks import as_masks
from ..runtime.network import Network
from ..runtime.postprocess import ClassScores, Detections, LabelMap
from ..runtime.predictor import Predictor, Result
from .triton import IMAGE
from .uploads import MAX_BYTES, decode_upload


class TritonSession(Session):
    """A network that runs as another model of the same Triton.

    Args:
        model: Name of the model.
        manifest: Manifest of the artefact.
    """

    def __init__(self, model: str, manifest: Mapping) -> None:
        self.model = model
        self.inputs = tuple(
            TensorSpec(name, 'float32', tuple(said['shape'])) for name, said in manifest['inputs'].items()
        )
        self.outputs = tuple(
            TensorSpec(name, said['dtype'], tuple(said['shape'])) for name, said in manifest['outputs'].items()
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Ask the model of the network.

        Raises:
            DeployError: If Triton reports an error.
        """
        names = [spec.name for spec in self.outputs]
        request = pb_utils.InferenceRequest(
            model_name=self.model,
            requested_output_names=names,
            inputs=[pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in feeds.items()],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise DeployError(
                f'The model {self.model} failed: {response.error().message()}',
                fix='look at the log of the server; the network has to be loaded beside this model',
            )
        return {name: pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in names}


def result_tensors(found: Result, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """A result as the arrays of :data:`~mmtrtvit.serving.triton.RESULTS`."""
    if isinstance(found, LabelMap):
        return {'label_map': found.labels.astype(np.int32)}
    if isinstance(found, ClassScores):
        name = np.array([found.name.encode()], dtype=np.object_)
        return {'scores': found.scores, 'label': np.array([found.label], np.int64), 'name': name}
    tensors = {
        'boxes': found.boxes.reshape(-1, 4),
        'scores': found.scores,
        'labels': found.labels,
        'names': np.array([name.encode() for name in found.names], dtype=np.object_),
    }
    if found.masks is not None:
        counts = [entry['counts'].encode() for entry in as_masks(found.masks).rle()]
        tensors.update(masks=np.array(counts, dtype=np.object_), size=np.array(size, np.int64))
    return tensors


class TritonPythonModel:
    """Image file to objects or label map. The names are those that Triton's Python backend calls."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the manifest beside this model, and its parameters."""
        config = json.loads(args['model_config'])
        given = {key: value['string_value'] for key, value in config['parameters'].items()}
        path = Path(args['model_repository'], args['model_version'], MANIFEST)
        manifest = json.loads(path.read_text(encoding='utf-8'))
        check_content(manifest, path)
        session = TritonSession(given['network'], manifest)
        self.predictor = Predictor(manifest, Network(session, manifest['task'], manifest.get('profiles')))
        self.score, self.max_pixels = float(given['score']), int(given['max_pixels'])

    def respond(self, request: Any) -> Any:
        """The response to one request; an error for an image that cannot be used."""
        try:
            content = pb_utils.get_input_tensor_by_name(request, IMAGE).as_numpy()
            image = decode_upload(content.tobytes(), max_bytes=MAX_BYTES, max_pixels=self.max_pixels)
            found = next(self.predictor.stream([image]))
        except UserError as error:
            return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(error)))
        if isinstance(found, Detections):
            found = found.above(self.score)
        tensors = result_tensors(found, (image.shape[0], image.shape[1]))
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])

    def execute(self, requests: list) -> list:
        """The response to each request."""
        return list(map(self.respond, requests))
