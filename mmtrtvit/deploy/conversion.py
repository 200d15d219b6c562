"""From a checkpoint to an artefact: the steps of ``tools/deploy.py``."""

import copy
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import torch.nn as nn
from mmdeploy.apis import torch2onnx
from mmdeploy.backend.sdk.export_info import export2SDK
from mmengine.config import Config, ConfigDict

from ..atomic import atomic_files
from ..checkpoint import allow_mmengine_checkpoints
from ..config import load_config, make_work_dir
from ..errors import CheckpointError, ConfigError, DataError
from ..runtime import Network, Predictor
from ..runtime.manifest import MANIFEST, listed_files, sha256, versions, write_manifest
from ..runtime.preprocess import read_image
from ..runtime.tensor_names import INPUT, ONNX_FILE
from ..visualization.sheet import draw_side_by_side
from .engines.build import EngineOptions, make_engine
from .export.deploy_configs import (
    backend_name,
    flavour_name,
    follow_input_shape,
    for_export,
    is_resize,
    load_deploy_config,
    make_deploy_config,
    pad_to_input_shape,
    shapes_of,
)
from .export.describe import describe_model
from .export.input_shapes import InputShapes
from .export.onnx_graph import fix_input_shape, operators, read_graph, require_standard_operators, simplify
from .precision.convert import check_exclusion, convert_precision
from .precision.emulation import Feed
from .proof.images import PHOTOGRAPHS, dataset_metainfo, images_of, sample_images
from .proof.proof import Proof
from .proof.prove import prove
from .proof.reference import Reference, build_pytorch_model
from .proof.report import PAGE, REPORT, finite, to_markdown
from .steps import Steps, quiet

MODEL_CONFIG, DEPLOY_CONFIG = 'model_config.json', 'deploy_config.json'
"""Both configs, for people: nothing here reads them again."""

EXPORT_SIDE = 320
"""Longer side, pixels, of the image that is traced. The graph serves all sizes, and a small one is traced sooner."""

CALIBRATION_IMAGES = 32
"""Images that INT8 is calibrated on and precisions are compared on: not those of the proof, where there are others."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What :func:`deploy` was asked for, resolved.

    Attributes:
        config: The model config, with the test pipeline that the artefact needs.
        deploy_config: mmdeploy's deploy config.
        shapes: Input sizes, ``None`` for any.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
    """

    config: Config
    deploy_config: Config
    shapes: InputShapes | None
    precision: str

    @property
    def backend(self) -> str:
        """As this package calls it."""
        return backend_name(self.deploy_config)


def export_onnx(conversion: Conversion, network: nn.Module, image: np.ndarray, path: Path) -> tuple[int, int]:
    """Export a network to ONNX through mmdeploy, fold what is constant, and check the operators.

    Args:
        conversion: What is wanted.
        network: The network, whose weights are exported. mmdeploy builds one of its own, which changes its form.
        image: ``(H, W, 3)`` uint8, BGR: an image to trace.
        path: The file to write.

    Returns:
        The number of nodes before and after folding.

    Raises:
        DeployError: If the graph needs operators outside of the ONNX standard.
    """
    scale = EXPORT_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale) if scale < 1 else image
    config = copy.deepcopy(conversion.config)  # mmdeploy changes the test pipeline for an image that is in memory
    for place, transform in enumerate(config.test_pipeline):
        if is_resize(transform):
            config.test_pipeline[place] = ConfigDict(type='Resize', scale=(EXPORT_SIDE, EXPORT_SIDE), keep_ratio=True)
    config.test_dataloader.dataset.pipeline = config.test_pipeline
    with tempfile.TemporaryDirectory() as folder:
        # What a checkpoint lacks, or has another shape for, is random: the same in both only if it is handed on.
        weights = str(Path(folder) / 'weights.pth')
        torch.save(dict(state_dict=network.state_dict()), weights)
        torch2onnx(
            small, str(path.parent), path.name, for_export(conversion.deploy_config), config, weights, device='cpu'
        )
    require_standard_operators(onnx.load(path))  # before others stumble over them
    if conversion.shapes is not None:
        fix_input_shape(path, conversion.shapes)
    return simplify(path)


def deploy(
    model_cfg: str | os.PathLike,
    checkpoint: str,
    *,
    work_dir: str | os.PathLike,
    backend: str = 'onnxruntime',
    precision: str = 'fp32',
    flavour: str | None = None,
    shapes: InputShapes | None = None,
    deploy_cfg: str | os.PathLike | None = None,
    engine: EngineOptions | None = None,
    image: str | None = None,
    images: int = 8,
    nodes_to_exclude: Sequence[str] = (),
    search: bool = False,
    calibration: str = 'minmax',
    timed: bool = True,
    cfg_options: Mapping | None = None,
    allow_mismatch: bool = False,
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
        backend: ``onnxruntime``, ``openvino``, ``tensorrt`` or ``tensorrt-rtx``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        flavour: ``native`` or ``portable``; by default what suits the backend.
        shapes: Input sizes; ``None`` for any, which TensorRT does not take.
        deploy_cfg: A deploy config of mmdeploy in place of ``backend``, ``flavour`` and ``shapes``.
        engine: What only some backends know.
        image: An image to trace, compare and draw; by default the first ones of the test split.
        images: How many of the test split to compare and evaluate on.
        nodes_to_exclude: Nodes and modules that stay in FP32 whatever the precision.
        search: Look for further ones until the outputs meet the tolerance of the precision.
        calibration: How the ranges of INT8 are chosen: ``minmax``, ``percentile`` or ``entropy``.
        timed: Whether to time PyTorch and the artefact.
        cfg_options: Changes to the model config, dotted key to value.
        allow_mismatch: Accept a checkpoint that does not fill the whole network.

    Returns:
        The manifest, and how the artefact compares with PyTorch.

    Raises:
        ConfigError, CheckpointError, DataError, DeployError: For input that cannot be used, or naming the
            step that failed.
    """
    steps = Steps(7)
    with steps.step('read configs and checkpoint') as say, quiet():
        config = load_config(model_cfg, cfg_options)
        if deploy_cfg is None:
            deploy_config = make_deploy_config(config.model, backend, flavour, shapes)
        else:
            deploy_config = load_deploy_config(deploy_cfg)
            shapes = shapes_of(deploy_config)
        conversion = Conversion(follow_input_shape(config, shapes), deploy_config, shapes, precision)
        config, backend = conversion.config, conversion.backend
        options = engine or EngineOptions()
        options.check(backend, precision)
        check_exclusion(precision, backend, nodes_to_exclude, search)
        _check_size(config, shapes)
        digest = _digest_of(checkpoint)
        metainfo = dataset_metainfo(config)
        description = describe_model(config, metainfo, shapes.size if shapes else None)
        (traced,) = [read_image(image)] if image else sample_images(config, 1)
        allow_mmengine_checkpoints()
        padded = pad_to_input_shape(config, shapes)
        reference = build_pytorch_model(padded, checkpoint, allow_mismatch)
        say(f'{sum(p.numel() for p in reference.parameters()) / 1e6:.1f} M parameters')

    work_dir = make_work_dir(work_dir)
    with atomic_files(work_dir, last=MANIFEST, obsolete=listed_files(work_dir)) as folder:
        path = folder / ONNX_FILE
        with steps.step(f'export to ONNX ({flavour_name(deploy_config)} operators)') as say, quiet():
            nodes = export_onnx(conversion, reference, traced, path)
            say(f'opset {deploy_config.onnx_config.opset_version}, {nodes[0]} -> {nodes[1]} nodes')
        with steps.step(f'precision {precision}') as say, quiet():
            found = convert_precision(
                path,
                precision,
                backend=backend,
                nodes_to_exclude=nodes_to_exclude,
                search=search,
                calibration=calibration,
                feeds=lambda: _feeds(reference, padded, shapes, precision, say),
            )
            say(found.summary)
        with steps.step(f'{backend}: make what it runs') as say, quiet():
            made = make_engine(backend, path, precision, shapes, options)
            say(made.summary)
        with steps.step(f'compare with PyTorch on {1 if image else images} images') as say, quiet():
            network = Network(made.session, description['task'], _profiles(shapes).get('profiles'))
            proof, drawn = prove(
                reference,
                Predictor(description, network),
                config,
                subject=made.subject,
                precision=precision,
                images=images,
                image=image,
                timed=timed and made.runs_here,
                device=made.session.device,
            )
            for name, (ours, theirs) in proof.counted.items():
                say(f'{name} {ours:.4g} -> {theirs:.4g}')
            say('PASS' if proof.passed else f'FAIL: {"; ".join(proof.failures)}')
        with steps.step('draw the visual check'), quiet():
            draw_side_by_side(drawn, metainfo, folder / 'visual_check.png')
        with steps.step('write report, metadata and manifest'), quiet():
            if shapes is None or shapes.size is None:  # its SDK cannot fit an upright image into a lying frame
                # a copy, as mmdeploy turns the test pipeline of what it is given into that of its SDK
                described = copy.deepcopy(config)
                described.data_preprocessor = described.model.data_preprocessor  # where mmdeploy looks for mmseg's
                export2SDK(for_export(deploy_config), described, str(folder), pth=str(checkpoint), device='cpu')
            config.dump(folder / MODEL_CONFIG)
            deploy_config.dump(folder / DEPLOY_CONFIG)
            graph = read_graph(path)
            artefact = dict(
                **description,
                backbone=dict(config.model.backbone),
                backend=backend,
                flavour=flavour_name(deploy_config),
                precision=precision,
                engine=made.file,
                opset=deploy_config.onnx_config.opset_version,
                inputs=_values(graph.graph.input),
                outputs=_values(graph.graph.output),
                **_profiles(shapes),
                operators=dict(sorted(operators(graph).items())),
                source=dict(
                    model_config=Path(model_cfg).name,
                    deploy_config=Path(deploy_cfg).name if deploy_cfg else None,
                    checkpoint=Path(checkpoint).name,
                    checkpoint_sha256=digest,
                ),
            )
            _write_report(folder, artefact, proof, nodes, found, made)
            manifest = write_manifest(folder, {**artefact, 'proof': finite(proof.to_dict())})
    return manifest, proof


def _check_size(config: Config, shapes: InputShapes | None) -> None:
    """Make sure that images can be padded to a fixed size by the network in PyTorch as well.

    Raises:
        ConfigError: If its sides are no multiples of what a detector pads to.
    """
    divisor = config.model.data_preprocessor.get('pad_size_divisor', 1)
    if shapes is None or shapes.size is None or not any(side % divisor for side in shapes.size):
        return
    fitting = 'x'.join(str(-(-side // divisor) * divisor) for side in shapes.size)
    raise ConfigError(
        f'An input of {shapes.size[0]} x {shapes.size[1]} for a network that pads to multiples of {divisor}.',
        expected=f'a height and a width that are multiples of {divisor} (pad_size_divisor of the config)',
        fix=f'use --shape {fitting}',
    )


def _digest_of(checkpoint: str | os.PathLike) -> str:
    """SHA-256 of a checkpoint.

    Raises:
        CheckpointError: If it is no local file.
    """
    if not Path(checkpoint).is_file():
        raise CheckpointError(
            f'There is no checkpoint at {checkpoint}.',
            expected='a local file: the manifest says its hash',
            fix='give the path of a checkpoint, such as work_dirs/NAME/epoch_12.pth; download one that has an address',
        )
    return sha256(checkpoint)


def _feeds(
    network: nn.Module,
    config: Config,
    shapes: InputShapes | None,
    precision: str,
    say: Callable[[str], None],
) -> list[Feed]:
    """Inputs to calibrate and to compare precisions on, as large as the engine takes them.

    Raises:
        DataError: If INT8 would be calibrated on images that have nothing to do with the network's.
    """
    images, source = images_of(config, CALIBRATION_IMAGES, ('train', 'test'))
    if precision == 'int8' and source == PHOTOGRAPHS:
        raise DataError(
            'There are no images to calibrate INT8 on.',
            expected=f'some tens of images of the data set, at {config.train_dataloader.dataset.get("data_root")}',
            fix='correct the data root (environment variable MMTRTVIT_DATA_ROOT, or --cfg-options)',
        )
    say(f'{len(images)} images of {source}')
    batch = shapes.smallest[0] if shapes else 1
    inputs = map(Reference(network, config).input, images)
    return [{INPUT: np.repeat(array, batch, axis=0)} for array in inputs]


def _profiles(shapes: InputShapes | None) -> dict:
    return {} if shapes is None else {'profiles': {INPUT: shapes.to_dict()}}


def _values(values) -> dict[str, dict]:
    """Name to element type and shape of a graph's inputs or outputs; dynamic sides by their name."""
    return {
        value.name: dict(
            dtype=onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower(),
            shape=[side.dim_param or side.dim_value or -1 for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    }


def _write_report(folder: Path, artefact: Mapping, proof: Proof, nodes: tuple[int, int], found, made) -> None:
    report = dict(
        artefact=artefact,
        proof=proof.to_dict(),
        graph=dict(nodes_before=nodes[0], nodes=nodes[1]),
        precision=found.to_dict(),
        engine_bytes=made.bytes,
        engine=made.report,
        versions=versions(),
    )
    (folder / REPORT).write_text(json.dumps(finite(report), indent=2, allow_nan=False) + '\n')
    (folder / PAGE).write_text(to_markdown(report, made.page))
