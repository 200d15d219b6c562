"""Evaluating an exported artefact on the test split of a config."""

import os
from collections.abc import Mapping
from pathlib import Path

from mmdeploy.apis import build_task_processor
from mmengine.evaluator import DumpResults

from ..apis.config import load_config, set_work_dir
from ..apis.errors import library_errors_explained
from ..apis.evaluation import draw_to
from ..datasets.preflight import check_data
from ..errors import ConfigError
from .artefact import Artefact
from .configs import follow_input_shape


def evaluate_artefact(
    config: str | os.PathLike,
    backend_dir: str,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    cfg_options: Mapping | None = None,
) -> dict[str, float]:
    """Evaluate what ``tools/deploy.py`` left, through mmdeploy's test runner.

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
    cfg = follow_input_shape(load_config(config, cfg_options), artefact.deploy_config)
    folder = set_work_dir(cfg, Path(config), work_dir)
    if show_dir:
        draw_to(cfg, show_dir)
    check_data(cfg, ['test'])
    processor = build_task_processor(cfg, artefact.deploy_config, 'cpu')
    with library_errors_explained():
        runner = processor.build_test_runner(artefact.model, str(folder))
        if out:
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=out))
        return runner.test()
