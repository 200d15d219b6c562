"""The export of a checkpoint to an artefact: the steps of ``tools/deploy.py``."""

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
from ..checkpoint import allow_mmengine_checkpoints, read_checkpoint
from ..config import load_config, make_work_dir
from ..datasets.class_checks import check_class_counts, check_trained_classes
from ..datasets.findings import raise_errors
from ..datasets.preflight import datasets_of_split
from ..errors import CheckpointError, DataError
from ..processor import processor
from ..runtime import Network, Predictor
from ..runtime.manifest import MANIFEST, listed_files, sha256, versions, write_manifest
from ..runtime.precisions import PRECISIONS
from ..runtime.preprocess import read_image
from ..runtime.tensor_names import INPUT, ONNX_FILE
from ..visualization.sheet import draw_side_by_side
from .engines.build import make_engine
from .engines.engine import Engine
from .export.deploy_configs import load_deploy_config, make_deploy_config
from .export.describe import describe_model
from .export.fixed_size import follow_input_shape, pad_to_input_shape
from .export.onnx_export import export_onnx, tensors_of
from .export.onnx_graph import operators, read_graph
from .export.sdk import export_sdk_metadata, why_sdk_cannot_follow
from .export.support import check_layers, check_support
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
"""File names of both configs. They are written for people and not read again."""

CALIBRATION_IMAGES = 32
"""Number of images to calibrate INT8 and compare precisions on; different from those of the proof if possible."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The network to export, with its configs and its description.

    Attributes:
        config: The model config, with the test pipeline that the artefact needs.
        padded: The same config, with a network that pads its input as the artefact does.
        network: The PyTorch network of ``padded``.
        metainfo: Classes and palette of its test data set.
        description: Its part of the manifest; see :func:`~mmtrtvit.deploy.export.describe.describe_model`.
        image: ``(H, W, 3)`` uint8, BGR: the image to trace with.
        files: Names of the source files, and the hash of the checkpoint.
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
    images: int | None = None,
    timed: bool = True,
    cfg_options: Mapping | None = None,
    allow_mismatch: bool = False,
    **request: Any,
) -> tuple[dict, Proof]:
    """Export a checkpoint, compare the artefact with PyTorch, and write it to a folder.

    The folder then holds the ONNX file, the engine if the backend has one, both configs as JSON, ``deploy_report.json``
    and ``deploy_report.md``, ``visual_check.png`` and ``manifest.json``. If mmdeploy's SDK can follow the pre- and
    postprocessing, it also holds its metadata (``deploy.json``, ``detail.json``, ``pipeline.json``). The files appear
    all at once, and only if every step succeeded.

    Args:
        model_cfg: The model config.
        checkpoint: The checkpoint.
        work_dir: The folder of the artefact.
        image: The image to trace, compare and draw; by default the first images of the test split.
        images: Number of images of the test split to compare and evaluate on; by default as the precision needs, see
            :data:`~mmtrtvit.runtime.precisions.PRECISIONS`.
        timed: Whether to time PyTorch and the artefact.
        cfg_options: Changes to the model config, dotted key to value.
        allow_mismatch: Accept a checkpoint that does not fill the whole network.
        request: Attributes of :class:`~mmtrtvit.deploy.request.DeployRequest`, such as ``backend``, ``precision``,
            ``flavour``, ``shapes`` and ``deploy_cfg``.

    Returns:
        The manifest, and the comparison of the artefact with PyTorch.

    Raises:
        ConfigError, CheckpointError, DataError, DeployError: If the input cannot be used or a step failed. The message
            names the step.
    """
    steps = Steps(7)
    with steps.step('read configs and checkpoint') as say, quiet():
        config = load_config(model_cfg, cfg_options)
        wanted = make_request(config.model, **request)
        check_support(config.model, config.get('default_scope'), wanted.flavour, wanted.runs_on)
        deploy_config = _deploy_config(wanted)
        source = _read_source(model_cfg, config, checkpoint, wanted, image, allow_mismatch)
        images = images or PRECISIONS[wanted.precision].images
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
            say(proof.parity.summary)
            for name, metric in proof.counted.items():
                say(f'{name} {metric}')
            say(str(proof))
        with steps.step('draw the visual check'), quiet():
            draw_side_by_side(drawn, source.metainfo, folder / 'visual_check.png')
        with steps.step('write report, metadata and manifest'), quiet():
            if not why_sdk_cannot_follow(source.description, wanted.shapes):
                export_sdk_metadata(
                    source.config,
                    deploy_config,
                    source.description,
                    engine.file,
                    wanted.precision,
                    checkpoint,
                    folder,
                )
            source.config.dump(folder / MODEL_CONFIG)
            deploy_config.dump(folder / DEPLOY_CONFIG)
            artefact = _describe_artefact(source, wanted, deploy_config, engine, path)
            _write_report(folder, artefact, proof, nodes, converted, engine)
            manifest = write_manifest(folder, {**artefact, 'proof': finite(proof.to_dict())})
    return manifest, proof


def _deploy_config(request: DeployRequest) -> Config:
    """The mmdeploy deploy config for a request."""
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
    """Build the network of a model config with the weights of a checkpoint.

    Raises:
        CheckpointError: If the checkpoint is missing or does not fill the network.
        DataError: If no image is available, or data set, heads and checkpoint have different classes.
        DeployError: If a runtime cannot follow the config.
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
    classes = metainfo.get('classes') or ()
    if classes:
        faults = list(check_class_counts(config.model, classes, 'the test data set'))
        faults += [] if allow_mismatch else check_trained_classes(read_checkpoint(checkpoint), classes)
        raise_errors(faults)
    description = describe_model(config, metainfo, request.size)
    sample = read_image(image) if image else sample_images(config, 1)[0]
    allow_mmengine_checkpoints()
    network = build_pytorch_model(padded, checkpoint, allow_mismatch)
    check_layers(network)
    return Source(config, padded, network, metainfo, description, sample, files)


def _digest_of(checkpoint: str | os.PathLike) -> str:
    """SHA-256 of a checkpoint.

    Raises:
        CheckpointError: If the checkpoint is not a local file.
    """
    if not Path(checkpoint).is_file():
        raise CheckpointError(
            f'There is no checkpoint at {checkpoint}.',
            expected='a local file: the manifest says its hash',
            fix='give the path of a checkpoint, such as work_dirs/NAME/epoch_12.pth; download one that has an address',
        )
    return sha256(checkpoint)


def _feeds(source: Source, request: DeployRequest, say: Callable[[str], None]) -> list[Feed]:
    """Inputs for calibration and for comparing precisions, in the size of the engine.

    Raises:
        DataError: If INT8 would be calibrated on images unrelated to the training data.
    """
    splits = ('train', 'test')
    images, origin = images_of(source.padded, CALIBRATION_IMAGES, splits)
    if request.precision == 'int8' and origin == PHOTOGRAPHS:
        roots = dict.fromkeys(d.get('data_root') for s in splits for d in datasets_of_split(source.config, s))
        raise DataError(
            'There are no images to calibrate INT8 on.',
            expected=f'some tens of images of the data set, at {" or ".join(map(str, roots))}',
            fix='correct the data root (environment variable MMTRTVIT_DATA_ROOT, or --cfg-options)',
        )
    say(f'{len(images)} images of {origin}')
    batch = request.shapes.smallest[0] if request.shapes else 1
    inputs = map(Reference(source.network, source.padded).input, images)
    height, width = source.description.get('window', {}).get('size', (None, None))
    return [{INPUT: np.repeat(array[..., :height, :width], batch, axis=0)} for array in inputs]


def _profiles(request: DeployRequest) -> dict:
    return {} if request.shapes is None else {'profiles': {INPUT: request.shapes.to_dict()}}


def _describe_artefact(
    source: Source, request: DeployRequest, deploy_config: Config, engine: Engine, path: Path
) -> dict:
    """The contents of manifest and report, except for the proof."""
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
        processor=processor(),
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
