"""An exported network that accepts any number of images and returns the outputs of each."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import DeployError
from .backends import Session, open_session
from .tasks import TASKS
from .tensor_names import EXACT


def warn_of_inexact() -> None:
    """Warn that a portable detector is not certain of its detections."""
    warnings.warn(
        "The detections of an image may differ from PyTorch's: it has longer chains of overlapping boxes, or more "
        'candidates, than the artefact was exported for. (Said once.)',
        stacklevel=4,
    )


class Network:
    """Runs batches of any size on a session whose batch size may be limited.

    Args:
        session: The session.
        task: Name of the network's task, a key of :data:`~mmtrtvit.runtime.tasks.TASKS`.
        profiles: Name of the input to its smallest (``min``) and largest (``max``) shape, if the engine has limits.

    Attributes:
        session: The session.
        most: Maximum number of images that go through the network at once; None if there is no limit. It is 1 on CPUs
            unless the network has another batch size: their kernels may sum up a batch in another order, so that the
            result of an image would depend on the number of images beside it, and they gain little by batches.

    Raises:
        DeployError: If the network does not have exactly one image input, or lacks an output of its task.
    """

    def __init__(self, session: Session, task: str, profiles: Mapping | None = None) -> None:
        self.session = session
        given = {spec.name: len(spec.shape) for spec in session.outputs}
        wanted = TASKS[task].outputs
        if [len(spec.shape) for spec in session.inputs] != [4] or not wanted.items() <= given.items():
            raise DeployError(
                f'The network has inputs {", ".join(s.name for s in session.inputs) or "none"} and outputs '
                f'{", ".join(given) or "none"}; those are not of a network for {task}.',
                expected=f'one input (B, 3, H, W), and outputs {", ".join(wanted)}',
                fix='export again with tools/deploy.py',
            )
        self._input = session.inputs[0].name
        self.most: int | None
        side = session.inputs[0].shape[0]
        profile = (profiles or {}).get(self._input)
        if isinstance(side, int) and side > 0:
            self._least, self.most = side, side
        elif profile:
            self._least, self.most = profile['min'][0], profile['max'][0]
        else:
            self._least, self.most = 1, 1 if session.device == 'cpu' else None
        self._warned = False

    def __call__(self, batch: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Run the network.

        Args:
            batch: ``(B, 3, H, W)`` float32. A batch that is too large is split; one that is too small is filled up.

        Returns:
            One dictionary for each image: name to output, without the batch dimension.

        Raises:
            DeployError: If the network does not accept this image size.
        """
        results = []
        step = self.most or len(batch)
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            missing = max(self._least - len(part), 0)
            filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            outputs = self.session({self._input: filled})
            results += [{name: array[index] for name, array in outputs.items()} for index in range(len(part))]
        if not self._warned and any(result.get(EXACT, 1) <= 0 for result in results):
            self._warned = True
            warn_of_inexact()
        return results


def open_network(
    folder: str | os.PathLike,
    manifest: Mapping,
    *,
    threads: int | None = None,
    streams: int | None = None,
    device: str | None = None,
) -> Network:
    """Load the network of an artefact.

    Args:
        folder: Its folder.
        manifest: Its manifest, already checked.
        threads, streams, device: As in :func:`~mmtrtvit.runtime.load`.

    Raises:
        DeployError: If the backend is missing or cannot load the network, or the network does not match the manifest.
    """
    session = open_session(
        manifest['backend'],
        Path(folder) / manifest['engine'],
        precision=manifest['precision'],
        threads=threads,
        streams=streams,
        device=device,
    )
    return Network(session, manifest['task'], manifest.get('profiles'))
