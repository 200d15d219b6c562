"""From a checkpoint to an artefact: the steps of ``tools/deploy.py``."""

import contextlib
import copy
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mmcv
import numpy as np
import torch
import torch.nn as nn
from mmdeploy.apis import torch2onnx
from mmdeploy.backend.sdk.export_info import export2SDK
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope, init_default_scope

from ..apis.config import load_config
from ..atomic import atomic_files
from ..checkpoint import allow_mmengine_checkpoints, load_checkpoint
from ..errors import DataError, DeployError, UserError
from .artefact import DEPLOY_CONFIG, MODEL_CONFIG, ONNX_FILE, build_backend_model
from .configs import backend_name, follow_input_shape, load_deploy_config
from .manifest import MANIFEST, sha256, write_manifest
from .onnx_graph import operators, read_graph, require_standard_operators, simplify
from .parity import DetectionParity, compare_detections
from .picture import draw_side_by_side


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tracer's and the registries' warnings, hundreds of lines of no use to a user, off the screen."""
    loggers = [logging.getLogger(name) for name in ('mmdeploy', 'mmengine')]
    loggers += [MMLogger.get_current_instance()]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Steps:
    """The steps of a conversion, shown as they run; an error says in which of them it happened.

    Args:
        total: How many steps there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a step, and how long it took when it is done.

        Yields:
            A function that takes what there is to say about its result.

        Raises:
            DeployError: For any error in the step that is not the user's own already.
        """
        self.number += 1
        said: list[str] = []
        start = time.perf_counter()
        print(f'[{self.number}/{self.total}] {name} ...', flush=True)
        try:
            yield said.append
        except UserError:
            raise
        except Exception as error:
            raise DeployError(
                f'Step {self.number} of {self.total} ({name}) failed: {type(error).__name__}: {error}',
                fix='nothing was left half-written; run with MMTRTVIT_DEBUG=1 to see where it happened',
            ) from error
        details = f': {", ".join(said)}' if said else ''
        print(f'      done in {time.perf_counter() - start:.1f} s{details}', flush=True)


def build_pytorch_model(config: Config, checkpoint: str, allow_mismatch: bool = False) -> nn.Module:
    """The network of a model config with the weights of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: If the checkpoint cannot be read or does not fill the network.
    """
    if not DefaultScope.get_current_instance() or not DefaultScope.check_instance_created(config.default_scope):
        init_default_scope(config.default_scope)
    model = MODELS.build(copy.deepcopy(config.model))
    load_checkpoint(model, checkpoint, allow_mismatch=allow_mismatch)
    return model.eval()


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image.

    Returns:
        ``(H, W, 3)`` uint8, BGR.

    Raises:
        DataError: If there is none or it cannot be read.
    """
    if not Path(path).is_file():
        raise DataError(f'There is no image {path}.', fix='correct --image')
    image = mmcv.imread(str(path))
    if image is None:
        raise DataError(
            f'The image {path} cannot be read.',
            expected='a complete JPEG, PNG or another format that OpenCV reads',
            fix='give another image by --image',
        )
    return image


def sample_images(config: Config, count: int) -> list[np.ndarray]:
    """Images to compare on: the first of the test split, or photographs of scikit-image where there is no data.

    Returns:
        ``(H, W, 3)`` uint8 images, BGR.
    """
    dataset = config.test_dataloader.dataset
    folder = Path(dataset.get('data_root') or '') / (dataset.get('data_prefix') or {}).get('img', '')
    paths = sorted(path for path in folder.glob('*') if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))[:count]
    if paths:
        return [read_image(path) for path in paths]
    from skimage import data

    photographs = (data.astronaut(), data.coffee(), data.chelsea())
    return [np.ascontiguousarray(photograph[..., ::-1]) for photograph in photographs[:count]]


def run_on_image(model: nn.Module, image: np.ndarray, config: Config):
    """Run the test pipeline and a network on one image.

    Args:
        model: A PyTorch network or a backend model.
        image: ``(H, W, 3)`` uint8, BGR.
        config: The model config with the test pipeline.

    Returns:
        ``pred_instances`` in the image's own pixels.
    """
    from mmcv.transforms import Compose
    from mmengine.dataset import pseudo_collate

    pipeline = [dict(step) for step in config.test_pipeline if 'LoadAnnotations' not in step.type]
    pipeline[0] = dict(type='mmdet.LoadImageFromNDArray')
    data = Compose(pipeline)(dict(img=image, img_id=0))
    with torch.no_grad():
        return model.test_step(pseudo_collate([data]))[0].pred_instances


def dataset_metainfo(config: Config) -> dict:
    """``classes`` and ``palette`` of a model config's test data set."""
    from mmdet.registry import DATASETS

    dataset = config.test_dataloader.dataset
    metainfo = dict(DATASETS.get(dataset.type).METAINFO)
    metainfo.update(dataset.get('metainfo') or {})
    return {key: metainfo[key] for key in ('classes', 'palette') if key in metainfo}


def deploy(
    model_cfg: str | os.PathLike,
    checkpoint: str,
    *,
    deploy_cfg: str | os.PathLike,
    work_dir: str | os.PathLike,
    image: str | None = None,
    images: int = 3,
    cfg_options: Mapping | None = None,
    allow_mismatch: bool = False,
) -> tuple[dict, DetectionParity]:
    """Export a checkpoint, compare the artefact with PyTorch, and leave it with all that belongs to it.

    The folder then holds the ONNX file, both configs as JSON, mmdeploy's SDK metadata (``deploy.json``,
    ``detail.json``, ``pipeline.json``), ``parity.json``, ``visual_check.png`` and ``manifest.json``. Files
    appear all together when everything succeeded.

    Args:
        model_cfg: The model config.
        checkpoint: The checkpoint.
        deploy_cfg: The deploy config.
        work_dir: Where the artefact goes.
        image: An image to trace, compare and draw; by default the first ones of the test split.
        images: How many of the test split to compare on.
        cfg_options: Changes to the model config, dotted key to value.
        allow_mismatch: Accept a checkpoint that does not fill the whole network.

    Returns:
        The manifest, and how the artefact compares with PyTorch.

    Raises:
        ConfigError, CheckpointError, DataError, DeployError: For input that cannot be used, or naming the
            step that failed.
    """
    steps = Steps(6)
    with steps.step('read configs and checkpoint') as say, quiet():
        deploy_config = load_deploy_config(deploy_cfg)
        config = follow_input_shape(load_config(model_cfg, cfg_options), deploy_config)
        samples = [read_image(image)] if image else sample_images(config, images)
        allow_mmengine_checkpoints()
        reference = build_pytorch_model(config, checkpoint, allow_mismatch)
        metainfo = dataset_metainfo(config)
        say(f'{sum(p.numel() for p in reference.parameters()) / 1e6:.1f} M parameters')

    with atomic_files(work_dir, last=MANIFEST) as folder:
        with steps.step('export to ONNX') as say, quiet():
            # a copy, as mmdeploy changes the test pipeline for an image that is in memory
            torch2onnx(
                samples[0], str(folder), ONNX_FILE, deploy_config, copy.deepcopy(config), str(checkpoint), device='cpu'
            )
            say(f'opset {deploy_config.onnx_config.opset_version}')
        with steps.step('simplify and check the graph') as say, quiet():
            before, after = simplify(folder / ONNX_FILE)
            graph = read_graph(folder / ONNX_FILE)
            require_standard_operators(graph)
            say(f'{before} -> {after} nodes, standard operators only')
        with steps.step(f'compare {backend_name(deploy_config)} with PyTorch on {len(samples)} images') as say, quiet():
            model = build_backend_model(folder, config, deploy_config)
            pairs = [tuple(run_on_image(net, sample, config) for net in (reference, model)) for sample in samples]
            parity = compare_detections(pairs)
            (folder / 'parity.json').write_text(json.dumps(parity.to_dict(), indent=2) + '\n')
            say(
                f'{parity.same} of {parity.detections} detections the same, largest differences: '
                f'box {parity.boxes.max:.1e} px, score {parity.scores.max:.1e}, mask {parity.masks.max:.1e}'
            )
        with steps.step('draw the visual check'), quiet():
            rows = [
                (sample[..., ::-1], {'PyTorch': ours, backend_name(deploy_config): theirs})
                for sample, (ours, theirs) in zip(samples, pairs, strict=True)
            ]
            draw_side_by_side(rows, metainfo, folder / 'visual_check.png')
        with steps.step('write metadata and manifest'), quiet():
            # a copy, as mmdeploy turns the test pipeline of what it is given into that of its SDK
            export2SDK(deploy_config, copy.deepcopy(config), str(folder), pth=str(checkpoint), device='cpu')
            config.dump(folder / MODEL_CONFIG)
            deploy_config.dump(folder / DEPLOY_CONFIG)
            manifest = write_manifest(
                folder,
                dict(
                    method=config.model.type,
                    backbone=dict(config.model.backbone),
                    backend=backend_name(deploy_config),
                    precision='fp32',
                    opset=deploy_config.onnx_config.opset_version,
                    inputs=_values(graph.graph.input),
                    outputs=_values(graph.graph.output),
                    operators=dict(sorted(operators(graph).items())),
                    classes=list(metainfo.get('classes', ())),
                    preprocessing=dict(
                        pipeline=[dict(step) for step in config.test_pipeline],
                        data_preprocessor=dict(config.model.data_preprocessor),
                    ),
                    source=dict(
                        model_config=Path(model_cfg).name,
                        deploy_config=Path(deploy_cfg).name,
                        checkpoint=Path(checkpoint).name,
                        checkpoint_sha256=sha256(checkpoint),
                    ),
                    parity=parity.to_dict(),
                ),
            )
    return manifest, parity


def _values(values) -> dict[str, dict]:
    """Name to element type and shape of a graph's inputs or outputs; dynamic sides by their name."""
    import onnx

    return {
        value.name: dict(
            dtype=onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower(),
            shape=[side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    }
