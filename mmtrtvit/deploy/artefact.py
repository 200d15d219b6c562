"""An exported network that can be run: what ``tools/deploy.py`` leaves in a folder."""

import dataclasses
import os
from pathlib import Path

import torch.nn as nn
from mmdeploy.apis import build_task_processor
from mmengine.config import Config

from ..errors import DeployError
from .manifest import read_manifest
from .onnx_graph import read_graph

ONNX_FILE = 'end2end.onnx'
MODEL_CONFIG, DEPLOY_CONFIG = 'model_config.json', 'deploy_config.json'


def build_backend_model(folder: str | os.PathLike, model_config: Config, deploy_config: Config) -> nn.Module:
    """The exported network behind the interface of a PyTorch one (``test_step``).

    Args:
        folder: Where the ONNX file is.
        model_config: The model config: mmdeploy takes the data preprocessor and post-processing from it.
        deploy_config: The deploy config.

    Raises:
        DeployError: If the file is no ONNX, or the backend cannot load it.
    """
    path = Path(folder) / ONNX_FILE
    read_graph(path)
    processor = build_task_processor(model_config, deploy_config, 'cpu')
    try:
        return processor.build_backend_model([str(path)], data_preprocessor_updater=processor.update_data_preprocessor)
    except Exception as error:  # each backend raises errors of its own
        raise DeployError(
            f'{deploy_config.backend_config.type} cannot load {path}: {str(error).splitlines()[0]}',
            fix='export again with the versions that are installed now (tools/check_env.py lists them)',
        ) from error


@dataclasses.dataclass
class Artefact:
    """An artefact that was read from its folder and checked against its manifest.

    Attributes:
        folder: Where it is.
        manifest: What it says of itself.
        model_config: The model config that it was exported from.
        deploy_config: The deploy config that it was exported with.
        model: The network, with ``test_step(data)`` as in PyTorch.
    """

    folder: Path
    manifest: dict
    model_config: Config
    deploy_config: Config
    model: nn.Module

    @classmethod
    def read(cls, folder: str | os.PathLike) -> 'Artefact':
        """Read and check an artefact.

        Raises:
            DeployError: If it is incomplete, was changed, or cannot be loaded.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        # JSON, and no imports: a config from elsewhere is data here, not a program
        model_config, deploy_config = (
            Config.fromfile(folder / name, import_custom_modules=False) for name in (MODEL_CONFIG, DEPLOY_CONFIG)
        )
        model = build_backend_model(folder, model_config, deploy_config)
        return cls(folder, manifest, model_config, deploy_config, model)
