"""Evaluating an exported artefact on the test split of a config."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from ..config import load_config, set_work_dir
from ..datasets.preflight import check_data
from ..deploy.export.describe import task_of, unscoped
from ..deploy.export.fixed_size import FitResize
from ..deploy.proof.artefact import Artefact
from ..deploy.proof.inference import dataset_metainfo
from ..engine.dump_predictions import DumpPredictions
from ..errors import ConfigError, DeployError, library_errors_explained
from .evaluation import draw_to

_RESIZING = {
    'stretch': dict(type='Resize', keep_ratio=False),
    'edges': dict(type='Resize', keep_ratio=True),
    'fit': dict(type=FitResize.__name__),
}
"""Rule of a manifest's ``resize`` to the transform that follows it."""


def follow_artefact(model_config: Config, manifest: Mapping) -> Config:
    """The model config with the test pipeline that an artefact needs.

    A network that takes one size only needs images resized as it was exported for; others take them as the config
    has them.

    Args:
        model_config: The model config, left as it is.
        manifest: The artefact's manifest.

    Returns:
        A copy.

    Raises:
        DeployError: If the artefact is no network of this config's task and classes.
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
    pad, resize = manifest['preprocessing']['pad'], manifest['preprocessing']['resize']
    if pad['shape'] and resize:
        pipeline = config.test_dataloader.dataset.pipeline
        for place, transform in enumerate(pipeline):
            if unscoped(transform.type) == 'Resize':
                pipeline[place] = dict(_RESIZING[resize['rule']], scale=(resize['width'], resize['height']))
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
) -> dict[str, float]:
    """Evaluate what ``tools/deploy.py`` left, by mmengine's runner and the metrics of mmdet or mmseg.

    Args:
        config: The model config; its test split and evaluator are used.
        backend_dir: The artefact's folder.
        work_dir: Where the log goes; ``work_dirs/<config name>`` by default.
        out: Write the predictions to this ``.pkl`` file as well.
        show_dir: Draw predictions beside the truth into this folder.
        cfg_options: Changes to the config, dotted key to value.

    Returns:
        Metric name to value, as :func:`mmtrtvit.apis.evaluate`.

    Raises:
        ConfigError, DataError, DeployError: For input that cannot be used.
    """
    if out and not out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out {out}: predictions are written as a pickle.', fix='choose a name that ends in .pkl')
    artefact = Artefact.read(backend_dir)
    cfg = follow_artefact(load_config(config, cfg_options), artefact.manifest)
    set_work_dir(cfg, Path(config), work_dir)
    if show_dir:
        draw_to(cfg, show_dir)
    check_data(cfg, ['test'])
    with library_errors_explained():
        # only what testing needs: hooks of a training config may want a model that they can train
        names = ('test_dataloader', 'test_evaluator', 'test_cfg', 'default_hooks', 'default_scope', 'work_dir')
        names += ('env_cfg', 'log_processor', 'log_level', 'visualizer')
        runner = Runner(artefact.model, cfg=cfg, **{name: cfg[name] for name in names if name in cfg})
        if out:
            runner.test_evaluator.metrics.append(DumpPredictions(out_file_path=out))
        return runner.test()
