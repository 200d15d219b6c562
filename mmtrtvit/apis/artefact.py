"""Evaluating an exported artefact on the test split of a config."""

import copy
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from ..config import datasets_of, describe_batches, load_config, set_work_dir
from ..datasets.loading import name_images_in_errors
from ..datasets.preflight import check_data
from ..deploy.export.describe import task_of, unscoped
from ..deploy.proof.images import dataset_metainfo
from ..deploy.proof.results import PredictorModel
from ..engine.dump_predictions import DumpPredictions
from ..engine.runner import build_runner
from ..errors import ConfigError, DeployError, library_errors_explained
from ..runtime import load
from ..runtime.predictor import OVERLAP
from ..runtime.tiles import check_tiling
from ..visualization.predictions import DrawPredictions

META_KEYS = ('img_id', 'img_path', 'ori_shape')
"""Keys of data samples for an image that no transform has changed."""

_SIZING = ('Resize', 'ResizeEdge', 'CenterCrop')
"""Transforms that an artefact does by itself."""


def follow_artefact(model_config: Config, manifest: Mapping) -> Config:
    """The model config with a test pipeline that gives images as they were read: the artefact resizes them itself.

    Args:
        model_config: The model config, left as it is.
        manifest: The artefact's manifest.

    Returns:
        A copy.

    Raises:
        DeployError: If the artefact differs from this config in task or classes.
    """
    task, classes = task_of(model_config.model), dataset_metainfo(model_config).get('classes') or ()
    if task != manifest['task'] or list(classes) != manifest['classes']:
        raise DeployError(
            f'The artefact ({manifest["method"]}, {len(manifest["classes"])} classes) was not exported from this '
            f'config ({model_config.model.type}).',
            expected='the config that it was exported from, or one that evaluates the same classes',
            fix='give that config, or another --backend-dir',
        )
    config = copy.deepcopy(model_config)
    for dataset in datasets_of(config.test_dataloader.dataset):
        steps = [dict(step) for step in dataset.pipeline if not unscoped(step.type).endswith(_SIZING)]
        for step in steps:
            if unscoped(step['type']).startswith('Pack'):
                step['meta_keys'] = META_KEYS
        dataset.pipeline = steps
    config.test_dataloader.batch_size = 1
    return config


def evaluate_artefact(
    config: str | os.PathLike,
    backend_dir: str,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    cfg_options: Mapping | None = None,
    tile: Sequence[int] | int | None = None,
    overlap: float = OVERLAP,
) -> dict[str, float]:
    """Evaluate an artefact of ``tools/deploy.py`` with mmengine's runner and the metrics of its config.

    It runs as ``load(backend_dir)(image)`` does, with its own pre- and post-processing.

    Args:
        config: The model config; its test split and evaluator are used.
        backend_dir: The artefact's folder.
        work_dir: Folder for the log; ``work_dirs/<config name>`` by default.
        out: Write the predictions to this ``.pkl`` file as well.
        show_dir: As in :func:`mmtrtvit.apis.evaluate`.
        cfg_options: Changes to the config, dotted key to value.
        tile, overlap: Tiles for large images, as in :meth:`mmtrtvit.runtime.Predictor.__call__`.

    Returns:
        Metric name to value, as :func:`mmtrtvit.apis.evaluate`.

    Raises:
        ConfigError, DataError, DeployError: For input that cannot be used.
    """
    if out and not out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out {out}: predictions are written as a pickle.', fix='choose a name that ends in .pkl')
    sides = check_tiling(tile, overlap)
    predict = load(backend_dir)
    cfg = follow_artefact(load_config(config, cfg_options), predict.manifest)
    set_work_dir(cfg, Path(config), work_dir)
    check_data(cfg, ['test'])
    with library_errors_explained(describe_batches(cfg, 'test'), lambda: 'The evaluation'):
        # only what testing needs: hooks of a training config may want a model that they can train
        names = ('test_dataloader', 'test_evaluator', 'test_cfg', 'default_hooks', 'default_scope', 'work_dir')
        names += ('env_cfg', 'log_processor', 'log_level', 'visualizer')
        settings = {name: cfg[name] for name in names if name in cfg}
        model = PredictorModel(functools.partial(predict, tile=sides, overlap=overlap))
        runner = build_runner(Runner, model, cfg=cfg, loops=['test'], **settings)
        name_images_in_errors(runner.test_dataloader.dataset)
        if out:
            runner.test_evaluator.metrics.append(DumpPredictions(out_file_path=out))
        if show_dir:
            runner.register_hook(DrawPredictions(Path(runner.log_dir) / show_dir))
        return runner.test()
