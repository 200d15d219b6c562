"""An exported network that can be evaluated: what ``tools/deploy.py`` leaves in a folder."""

import dataclasses
import os
from pathlib import Path

from ...runtime.backends import open_session
from ...runtime.manifest import read_manifest
from .backend_model import BackendModel

MODEL_CONFIG, DEPLOY_CONFIG = 'model_config.json', 'deploy_config.json'
"""Both configs, for people: nothing here reads them again."""


@dataclasses.dataclass
class Artefact:
    """An artefact that was read from its folder and checked against its manifest.

    Attributes:
        folder: Where it is.
        manifest: What it says of itself.
        model: The network, with ``test_step(data)`` as in PyTorch.
    """

    folder: Path
    manifest: dict
    model: BackendModel

    @classmethod
    def read(cls, folder: str | os.PathLike) -> 'Artefact':
        """Read and check an artefact.

        Raises:
            DeployError: If it is incomplete, was changed, or cannot be loaded.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        path = folder / manifest['engine']
        session = open_session(manifest['backend'], path, precision=manifest['precision'])
        return cls(folder, manifest, BackendModel(session, manifest))
