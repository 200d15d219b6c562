"""From a checkpoint to an artefact: the steps of ``tools/deploy.py``."""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path

import onnx
from mmdeploy.apis import torch2onnx
from mmdeploy.backend.sdk.export_info import export2SDK

from ..apis.config import load_config, make_work_dir
from ..atomic import atomic_files
from ..checkpoint import allow_mmengine_checkpoints
from .artefact import DEPLOY_CONFIG, MODEL_CONFIG, ONNX_FILE, build_backend_model
from .configs import backend_name, follow_input_shape, load_deploy_config
from .inference import build_pytorch_model, dataset_metainfo, read_image, run_on_image, sample_images
from .manifest import MANIFEST, sha256, write_manifest
from .onnx_graph import operators, read_graph, require_standard_operators, simplify
from .parity import DetectionParity, compare_detections
from .picture import draw_side_by_side
from .steps import Steps, quiet

DRAWN = 6
"""Images of the visual check at most."""


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

    with atomic_files(make_work_dir(work_dir), last=MANIFEST) as folder:
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
                for sample, (ours, theirs) in list(zip(samples, pairs, strict=True))[:DRAWN]
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
    return {
        value.name: dict(
            dtype=onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower(),
            shape=[side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    }
