"""Evaluating a checkpoint on the test split of a config."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch.nn as nn
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner

from ..checkpoint import allow_mmengine_checkpoints, load_checkpoint, unwrapped
from ..config import datasets_of, describe_batches, load_config, set_work_dir, test_data_of
from ..datasets.loading import name_images_in_errors
from ..datasets.preflight import check_data
from ..engine import use_cpu_processes
from ..engine.dump_predictions import DumpPredictions
from ..engine.finite import finite_outputs
from ..engine.runner import build_runner
from ..errors import ConfigError, library_errors_explained
from ..visualization.predictions import DrawPredictions


def use_tta(config: Config) -> None:
    """Test with the config's ``tta_model`` and ``tta_pipeline`` (several scales and flips, merged).

    Raises:
        ConfigError: If the config has none.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in config]
    if missing:
        raise ConfigError(
            f'--tta: the config has no {" and no ".join(missing)}.',
            fix='inherit configs/_base_/datasets/coco_instance.py or ade20k.py, or define them',
        )
    config.model = ConfigDict(**config.tta_model, module=config.model)
    for dataset in datasets_of(config.test_dataloader.dataset):
        dataset.pipeline = config.tta_pipeline
    if 'tta_metric' in config:
        config.test_evaluator.metric = config.tta_metric


def drop_mask_head(model: nn.Module) -> None:
    """Leave out the masks of a two-stage detector: mmdet cannot merge those of augmented images, and refuses them."""
    if getattr(getattr(model, 'roi_head', None), 'with_mask', False):
        model.roi_head.mask_head = None


def report_classes(config: Config) -> None:
    """Have COCO's figures printed by class as well; mmseg's always are."""
    evaluators = config.test_evaluator
    for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        if evaluator.type.endswith('CocoMetric'):
            evaluator.classwise = True


def evaluate(
    config: str | os.PathLike,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    per_class: bool = False,
    variants: Sequence[str] = (),
    cfg_options: Mapping | None = None,
    launcher: str = 'none',
    allow_mismatch: bool = False,
) -> dict[str, float]:
    """Evaluate a checkpoint on the test split of a config.

    Args:
        config: The config file.
        checkpoint: The checkpoint; it must fill the whole network.
        work_dir: Folder for the log; ``work_dirs/<config name>`` by default.
        out: Write the predictions to this ``.pkl`` file as well.
        show_dir: Draw predictions beside the truth into this folder, below the run's time-stamped folder in the work
            dir unless it is absolute.
        tta: Test-time augmentation.
        per_class: Print the figures of every class as well.
        variants: As in :func:`~mmtrtvit.apis.train`. A strategy is for training only: every process has the whole
            network here.
        cfg_options: Changes to the config, dotted key to value.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        allow_mismatch: Accept a checkpoint that does not fill the whole network.

    Returns:
        Metric name to value, such as ``{'coco/bbox_mAP': 0.447, ...}``.

    Raises:
        ConfigError, DataError, CheckpointError: For input that cannot be used.
    """
    if out and not out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out {out}: predictions are written as a pickle.', fix='choose a name that ends in .pkl')
    cfg = load_config(config, cfg_options, variants)
    test_data_of(cfg)
    cfg.launcher = launcher
    cfg.load_from, cfg.resume = None, False  # mmengine would load what they name over the checkpoint
    for key in ('runner_type', 'strategy'):
        cfg.pop(key, None)
    set_work_dir(cfg, Path(config), work_dir)
    if tta:
        use_tta(cfg)
    if per_class:
        report_classes(cfg)
    allow_mmengine_checkpoints()
    check_data(cfg, ['test'])
    with library_errors_explained(describe_batches(cfg, 'test'), lambda: 'The evaluation'):
        use_cpu_processes(cfg)
        runner = build_runner(Runner.from_cfg, cfg, loops=['test'])
        model = unwrapped(runner.model)
        network = model.module if tta else model
        load_checkpoint(network, checkpoint, allow_mismatch=allow_mismatch)
        if tta:
            drop_mask_head(network)
        name_images_in_errors(runner.test_dataloader.dataset)
        if out:
            runner.test_evaluator.metrics.append(DumpPredictions(out_file_path=out))
        if show_dir:
            runner.register_hook(DrawPredictions(Path(runner.log_dir) / show_dir))
        with finite_outputs(network):
            return runner.test()
