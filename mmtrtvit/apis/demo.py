"""Every step on the toy data set: make it, train, evaluate, export, check, time, draw."""

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from rich.console import Console
from rich.table import Table

from ..atomic import atomic_file
from ..benchmark import machine
from ..config import load_config
from ..datasets.toy import make_toy_dataset
from ..deploy import deploy
from ..deploy.proof.images import dataset_metainfo
from ..deploy.proof.reference import Reference, build_pytorch_model
from ..deploy.proof.results import predicted
from ..deploy.steps import quiet
from ..runtime import load
from ..runtime.manifest import versions
from ..runtime.preprocess import read_image
from ..visualization.sheet import draw_side_by_side
from .artefact import evaluate_artefact
from .evaluation import evaluate
from .training import train

PREFIX = 'coco/'
"""Prefix of the names of CocoMetric's figures."""

METRICS = ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50')
"""The figures that the summary shows, of those that CocoMetric gives."""

DRAWN = 4
"""Images in the final picture."""


def test_images(config) -> list[tuple[str, object]]:
    """Path and truth (``pred_instances``-like, in the image's own pixels) of every test image."""
    init_default_scope(config.default_scope)
    settings = dict(config.test_dataloader.dataset)
    settings['pipeline'] = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape')),
    ]
    images = []
    for item in DATASETS.build(settings):
        sample = item['data_samples']
        truth = sample.gt_instances
        truth.bboxes = truth.bboxes.tensor
        truth.masks = torch.from_numpy(truth.masks.masks).bool()
        images.append((sample.img_path, truth))
    return images


def demo(
    config: str | os.PathLike,
    deploy_cfg: str | os.PathLike,
    work_dir: str | os.PathLike,
    *,
    train_images: int = 1700,
    val_images: int = 80,
    epochs: int | None = None,
    resume: bool = False,
) -> dict:
    """Run everything once and sum it up.

    Args:
        config: A detection config on the toy data set.
        deploy_cfg: The deploy config.
        work_dir: Folder for all results: ``train/``, ``artefact/``, ``predictions.png``, ``summary.json``.
        train_images, val_images: Size of the toy data set.
        epochs: Fewer or more epochs than the config has.
        resume: Go on from the latest checkpoint of an earlier run that was stopped.

    Returns:
        The summary: ``pytorch`` and ``onnxruntime`` with ``bbox_mAP``, ``segm_mAP`` (and at IoU 0.5) and
        ``latency_ms``; ``parity``; ``env``; ``minutes`` in all and ``seconds`` of each step. Every figure in it is
        measured in this run.

    Raises:
        UserError: If a step raises one.
    """
    console = Console(highlight=False)
    begun: dict[str, float] = {}
    work_dir = Path(work_dir)

    def headline(text: str) -> None:
        begun[text] = time.perf_counter()
        minutes = (begun[text] - min(begun.values())) / 60
        console.rule(f'[bold]{len(begun)}/6 {text}[/bold] ({minutes:.1f} min so far)', align='left')

    headline('the toy data set')
    data_root = Path(os.environ.get('MMTRTVIT_DATA_ROOT', 'data')) / 'toy'
    make_toy_dataset(data_root, train=train_images, val=val_images)

    headline('training')
    # the next step evaluates
    options = {'randomness.seed': 0, **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator'))}
    if epochs is not None:
        options['train_cfg.max_epochs'] = epochs
    runner = train(config, work_dir=str(work_dir / 'train'), resume='auto' if resume else None, cfg_options=options)
    checkpoint = str(Path(runner.work_dir) / f'epoch_{runner.max_epochs}.pth')

    headline('evaluation in PyTorch')
    metrics = {'pytorch': evaluate(config, checkpoint, work_dir=str(work_dir / 'evaluate'))}

    headline('export, and comparison with PyTorch on every test image')
    artefact_dir = work_dir / 'artefact'
    _, proof = deploy(config, checkpoint, deploy_cfg=deploy_cfg, work_dir=artefact_dir, images=val_images)

    headline('evaluation of the exported artefact in ONNX Runtime')
    metrics['onnxruntime'] = evaluate_artefact(config, str(artefact_dir), work_dir=str(work_dir / 'evaluate'))

    headline('pictures')
    cfg = load_config(config)
    with quiet():
        networks = {
            'pytorch': Reference(build_pytorch_model(cfg, checkpoint), cfg),
            'onnxruntime': load(artefact_dir),
        }
        rows = [
            (
                image[..., ::-1],
                {'truth': truth, **{name: predicted(network(image)) for name, network in networks.items()}},
            )
            for image, truth in ((read_image(path), truth) for path, truth in test_images(cfg)[:DRAWN])
        ]
    draw_side_by_side(rows, dataset_metainfo(cfg), work_dir / 'predictions.png')

    ended = time.perf_counter()
    summary = {
        **{
            name: {
                **{metric: metrics[name][PREFIX + metric] for metric in METRICS},
                'latency_ms': dict(row.to_dict(), name=name),
            }
            for name, row in zip(networks, proof.latency, strict=True)
        },
        'latency_ratio': proof.to_dict()['latency_ratio'],
        'parity': proof.parity.to_dict(),
        'env': {**versions(), **machine()},
        'minutes': (ended - min(begun.values())) / 60,
        'seconds': dict(zip(begun, np.diff([*begun.values(), ended]).tolist(), strict=True)),
    }
    with atomic_file(work_dir / 'summary.json') as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + '\n')
    show(summary, console)
    console.print(f'Pictures: {work_dir / "predictions.png"}   Summary: {work_dir / "summary.json"}')
    return summary


def show(summary: dict, console: Console) -> None:
    """Print a summary as one table."""
    table = Table(title='Measured in this run', title_justify='left')
    for column in ('', 'box AP', 'AP50', 'mask AP', 'AP50', 'ms: median', 'p90', ''):
        table.add_column(column, justify='left' if not column else 'right', no_wrap=True)
    for name in ('pytorch', 'onnxruntime'):
        row = summary[name]
        latency = row['latency_ms']
        table.add_row(
            name,
            *(f'{row[metric]:.3f}' for metric in METRICS),
            f'{latency["median"]:.1f}',
            f'{latency["p90"]:.1f}',
            '' if latency['steady'] else 'unsteady',
        )
    console.print(table)
    parity = summary['parity']
    console.print(
        f'Parity on {parity["images"]} images: {parity["same"]} of {parity["detections"]} detections the same '
        f'(IoU > {parity["tolerance"]["iou"]}, score within {parity["tolerance"]["score"]}), '
        f'{parity["ties"]} ties, {parity["extra"]} extra: {"PASS" if parity["passed"] else "FAIL"}'
    )
    for output in ('boxes', 'scores', 'labels', 'masks'):
        difference = parity[output]
        console.print(f'  {output:7} absolute difference: max {difference["max"]:.2e}, mean {difference["mean"]:.2e}')
    latency = summary['pytorch']['latency_ms']
    console.print(f'Latency, {latency["scope"]}; PyTorch / ONNX Runtime = {summary["latency_ratio"]:.2f}')
    steps = ', '.join(f'{seconds:.0f} s {step}' for step, seconds in summary['seconds'].items())
    console.print(f'{summary["minutes"]:.1f} minutes: {steps}')
