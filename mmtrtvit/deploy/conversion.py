"""From a checkpoint to an artefact: the steps of ``tools/deploy.py``."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn as nn
from mmengine.config import Config

from ..atomic import atomic_files
from ..checkpoint import allow_mmengine_checkpoints
from ..config import load_config, make_work_dir
from ..errors import CheckpointError, DataError
from ..runtime import Network, Predictor
from ..runtime.manifest import MANIFEST, listed_files, sha256, versions, write_manifest
from ..runtime.preprocess import read_image
from ..runtime.tensor_names import INPUT, ONNX_FILE
from ..visualization.sheet import draw_side_by_side
from .engines.build import make_engine
from .engines.engine import Engine
from .export.deploy_configs import load_deploy_config, make_deploy_config
from .export.describe import describe_model
from .export.fixed_size import follow_input_shape, pad_to_input_shape
from .export.onnx_export import export_onnx, export_sdk_metadata, tensors_of
from .export.onnx_graph import operators, read_graph
from .precision.convert import ConvertedPrecision, convert_precision
from .precision.emulation import Feed
from .proof.images import PHOTOGRAPHS, dataset_metainfo, images_of, sample_images
from .proof.proof import Proof
from .proof.prove import prove
from .proof.reference import Reference, build_pytorch_model
from .proof.report import PAGE, REPORT, finite, to_markdown
from .request import DeployRequest, make_request
from .steps import Steps, quiet

MODEL_CONFIG, DEPLOY_CONFIG = 'model_config.json', 'deploy_config.json'
"""Both configs, for people: nothing here reads them again."""

CALIBRATION_IMAGES = 32
"""Images that INT8 is calibrated on and precisions are compared on: not those of the proof, where there are others."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The network to export, and what surrounds it.

    Attributes:
        config: The model config, with the test pipeline that the artefact needs.
        padded: The same, with a network that pads its input as the artefact does.
        network: The network of ``padded`` in PyTorch.
        metainfo: Classes and palette of its test data set.
        description: What a manifest says of it; see :func:`~mmtrtvit.deploy.export.describe.describe_model`.
        image: ``(H, W, 3)`` uint8, BGR: an image to trace.
        files: Names of the files that it comes from, and the hash of the checkpoint.
    """

    config: Config
    padded: Config
    network: nn.Module
    metainfo: dict
    description: dict
    image: np.ndarray
    files: dict


def deploy(
    model_cfg: str | os.PathLike,
    checkpoint: str,
    *,
    work_dir: str | os.PathLike,
    image: str | None = None,
    images: int = 8,
    timed: bool = True,
    cfg_options: Mapping | None = None,
    allow_mismatch: bool = False,
    **request: Any,
) -> tuple[dict, Proof]:
    """Export a checkpoint, compare the artefact with PyTorch, and leave it with all that belongs to it.

    The folder then holds the ONNX file, the engine where the backend has one, both configs as JSON, where height and
    width are free mmdeploy's SDK metadata (``deploy.json``, ``detail.json``, ``pipeline.json``), ``deploy_report.json``
    and ``deploy_report.md``, ``visual_check.png`` and ``manifest.json``. Files appear all together when everything
    succeeded.

    Args:
        model_cfg: The model config.
        checkpoint: The checkpoint.
        work_dir: Where the artefact goes.
        image: An image to trace, compare and draw; by default the first ones of the test split.
        images: How many of the test split to compare and evaluate on.
        timed: Whether to time PyTorch and the artefact.
        cfg_options: Changes to the model config, dotted key to value.
        allow_mismatch: Accept a checkpoint that does not fill the whole network.
        request: What to make: ``backend``, ``precision``, ``flavour``, ``shapes``, ``deploy_cfg`` and the other
            attributes of :class:`~mmtrtvit.deploy.request.DeployRequest`.

    Returns:
        The manifest, and how the artefact compares with PyTorch.

    Raises:
        ConfigError, CheckpointError, DataError, DeployError: For input that cannot be used, or naming the
            step that failed.
    """
    steps = Steps(7)
    with steps.step('read configs and checkpoint') as say, quiet():
        config = load_config(model_cfg, cfg_options)
        wanted = make_request(config.model, **request)
        deploy_config = _deploy_config(wanted)
        source = _read_source(model_cfg, config, checkpoint, wanted, image, allow_mismatch)
        say(f'{sum(p.numel() for p in source.network.parameters()) / 1e6:.1f} M parameters')

    work_dir = make_work_dir(work_dir)
    with atomic_files(work_dir, last=MANIFEST, obsolete=listed_files(work_dir)) as folder:
        path = folder / ONNX_FILE
        with steps.step(f'export to ONNX ({wanted.flavour} operators)') as say, quiet():
            nodes = export_onnx(source.config, deploy_config, source.network, source.image, path, wanted.shapes)
            say(f'opset {deploy_config.onnx_config.opset_version}, {nodes[0]} -> {nodes[1]} nodes')
        with steps.step(f'precision {wanted.precision}') as say, quiet():
            converted = convert_precision(
                path,
                wanted.precision,
                backend=wanted.backend,
                nodes_to_exclude=wanted.nodes_to_exclude,
                search=wanted.search,
                calibration=wanted.calibration,
                feeds=lambda: _feeds(source, wanted, say),
            )
            say(converted.summary)
        with steps.step(f'{wanted.backend}: make what it runs') as say, quiet():
            engine = make_engine(wanted, path)
            say(engine.summary)
        with steps.step(f'compare with PyTorch on {1 if image else images} images') as say, quiet():
            network = Network(engine.session, wanted.task, _profiles(wanted).get('profiles'))
            proof, drawn = prove(
                source.network,
                Predictor(source.description, network),
                source.config,
                subject=engine.subject,
                precision=wanted.precision,
                images=images,
                image=image,
                timed=timed and engine.runs_here,
                device=engine.session.device,
            )
            for name, (ours, theirs) in proof.counted.items():
                say(f'{name} {ours:.4g} -> {theirs:.4g}')
            say('PASS' if proof.passed else f'FAIL: {"; ".join(proof.failures)}')
        with steps.step('draw the visual check'), quiet():
            draw_side_by_side(drawn, source.metainfo, folder / 'visual_check.png')
        with steps.step('write report, metadata and manifest'), quiet():
            if wanted.size is None:  # the SDK cannot fit an upright image into a lying frame
                export_sdk_metadata(source.config, deploy_config, checkpoint, folder)
            source.config.dump(folder / MODEL_CONFIG)
            deploy_config.dump(folder / DEPLOY_CONFIG)
            artefact = _describe_artefact(source, wanted, deploy_config, engine, path)
            _write_report(folder, artefact, proof, nodes, converted, engine)
            manifest = write_manifest(folder, {**artefact, 'proof': finite(proof.to_dict())})
    return manifest, proof


def _deploy_config(request: DeployRequest) -> Config:
    """mmdeploy's deploy config for a request."""
    if request.deploy_cfg is not None:
        return load_deploy_config(request.deploy_cfg)
    return make_deploy_config(request.task, request.backend, request.flavour, request.shapes)


def _read_source(
    model_cfg: str | os.PathLike,
    config: Config,
    checkpoint: str,
    request: DeployRequest,
    image: str | None,
    allow_mismatch: bool,
) -> Source:
    """The network of a model config with the weights of a checkpoint.

    Raises:
        CheckpointError: If there is no such file, or it does not fill the network.
        DataError: If there is no image.
        DeployError: If the config cannot be described to a runtime.
    """
    config = follow_input_shape(config, request.shapes)
    padded = pad_to_input_shape(config, request.shapes)
    files = dict(
        model_config=Path(model_cfg).name,
        deploy_config=Path(request.deploy_cfg).name if request.deploy_cfg else None,
        checkpoint=Path(checkpoint).name,
        checkpoint_sha256=_digest_of(checkpoint),
    )
    metainfo = dataset_metainfo(config)
    description = describe_model(config, metainfo, request.size)
    sample = read_image(image) if image else sample_images(config, 1)[0]
    allow_mmengine_checkpoints()
    network = build_pytorch_model(padded, checkpoint, allow_mismatch)
    return Source(config, padded, network, metainfo, description, sample, files)


def _digest_of(checkpoint: str | os.PathLike) -> str:
    """SHA-256 of a checkpoint.

    Raises:
        CheckpointError: If it is not a local file.
    """
    if not Path(checkpoint).is_file():
        raise CheckpointError(
            f'There is no checkpoint at {checkpoint}.',
            expected='a local file: the manifest says its hash',
            fix='give the path of a checkpoint, such as work_dirs/NAME/epoch_12.pth; download one that has an address',
        )
    return sha256(checkpoint)


def _feeds(source: Source, request: DeployRequest, say: Callable[[str], None]) -> list[Feed]:
    """Inputs to calibrate and to compare precisions on, as large as the engine takes them.

    Raises:
        DataError: If INT8 would be calibrated on images that have nothing to do with the network's.
    """
    images, origin = images_of(source.padded, CALIBRATION_IMAGES, ('train', 'test'))
    if request.precision == 'int8' and origin == PHOTOGRAPHS:
        root = source.config.train_dataloader.dataset.get('data_root')
        raise DataError(
            'There are no images to calibrate INT8 on.',
            expected=f'some tens of images of the data set, at {root}',
            fix='correct the data root (environment variable MMTRTVIT_DATA_ROOT, or --cfg-options)',
        )
    say(f'{len(images)} images of {origin}')
    batch = request.shapes.smallest[0] if request.shapes else 1
    inputs = map(Reference(source.network, source.padded).input, images)
    return [{INPUT: np.repeat(array, batch, axis=0)} for array in inputs]


def _profiles(request: DeployRequest) -> dict:
    return {} if request.shapes is None else {'profiles': {INPUT: request.shapes.to_dict()}}


def _describe_artefact(
    source: Source, request: DeployRequest, deploy_config: Config, engine: Engine, path: Path
) -> dict:
    """All that manifest and report say of an artefact but its proof."""
    model = read_graph(path)
    return dict(
        **source.description,
        backbone=dict(source.config.model.backbone),
        backend=request.backend,
        flavour=request.flavour,
        precision=request.precision,
        engine=engine.file,
        opset=deploy_config.onnx_config.opset_version,
        inputs=tensors_of(model.graph.input),
        outputs=tensors_of(model.graph.output),
        **_profiles(request),
        operators=dict(sorted(operators(model).items())),
        source=source.files,
    )


def _write_report(
    folder: Path,
    artefact: Mapping,
    proof: Proof,
    nodes: tuple[int, int],
    converted: ConvertedPrecision,
    engine: Engine,
) -> None:
    report = dict(
        artefact=artefact,
        proof=proof.to_dict(),
        graph=dict(nodes_before=nodes[0], nodes=nodes[1]),
        precision=converted.to_dict(),
        engine_bytes=engine.bytes,
        engine=engine.report,
        versions=versions(),
    )
    (folder / REPORT).write_text(json.dumps(finite(report), indent=2, allow_nan=False) + '\n')
    (folder / PAGE).write_text(to_markdown(report, engine.page))
