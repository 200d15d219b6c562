"""The proof beside an engine: that it finds what PyTorch finds, scores what PyTorch scores, and how long it takes.

Everything is measured on the same images with the same pipeline, on the artefact itself or, where it cannot run on this
machine, on the graph that it was built from; which of the two is written down.
"""

import contextlib
import copy
import dataclasses
import io
import json
import numbers
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import BaseDataElement
from tqdm import tqdm

from ...errors import DataError
from ...latency import Latency, measure, ratio
from .equal_scores import EqualScoresByPlace
from .inference import read_image, run_on_image, sample_images
from .parity import DetectionParity, SegmentationParity, Tolerance, compare_detections, compare_label_maps

METRIC_DROP = {'fp32': 0.001, 'fp16': 0.005, 'bf16': 0.01, 'int8': 0.03}
"""How much mAP (0 to 1) or mIoU (0 to 1) an artefact of each precision may lose."""

_ROUNDING = 1e-9
"""What is lost when one rounded metric is taken from another."""

_COUNTED = {'mAP': 1.0, 'mIoU': 100.0}
"""Metrics that the verdict looks at end in one of these; what each is of a perfect network: mmseg gives percent."""

SCOPE = 'end-to-end: one image in memory to results in its pixels (resize, network, post-processing)'


@dataclasses.dataclass
class Proof:
    """How an artefact compares with PyTorch.

    Attributes:
        subject: What was run: the engine, or what stood in for it.
        precision: Of the artefact; the tolerances follow from it.
        parity: Detections or label maps, image by image.
        metrics: Metric to PyTorch's and the artefact's figure; empty where there is no annotated data.
        exact: Share of the images for which the portable selection of boxes was certain; ``None`` where there is none.
        latency: One row each for PyTorch and the artefact, measured in turn; empty if the engine cannot run here.
    """

    subject: str
    precision: str
    parity: DetectionParity | SegmentationParity
    metrics: dict[str, tuple[float, float]]
    exact: float | None
    latency: list[Latency]

    @property
    def counted(self) -> dict[str, tuple[float, float]]:
        """The metrics that the verdict looks at."""
        return {name: pair for name, pair in self.metrics.items() if name.endswith(tuple(_COUNTED))}

    @property
    def failures(self) -> list[str]:
        """What is outside the tolerances, in words."""
        found = [] if self.parity.passed else ['what it finds differs from PyTorch beyond the tolerance']
        if not self.parity.compared:
            found.append('nothing was compared: PyTorch finds nothing in these images')
        for name, (ours, theirs) in self.counted.items():
            (perfect,) = (value for ending, value in _COUNTED.items() if name.endswith(ending))
            if not ours - theirs <= METRIC_DROP[self.precision] * perfect + _ROUNDING:  # nor is NaN
                found.append(f'{name} drops from {ours:.4g} to {theirs:.4g}')
        if self.exact is not None and self.exact < 1:
            found.append(f'the selection of boxes was not certain in {1 - self.exact:.1%} of the images')
        return found

    @property
    def passed(self) -> bool:
        """Whether everything is within the tolerances."""
        return not self.failures

    def to_dict(self) -> dict:
        """As plain data, with the verdict and what it rests on."""
        return dict(
            subject=self.subject,
            precision=self.precision,
            passed=self.passed,
            failures=self.failures,
            parity=self.parity.to_dict(),
            metrics={name: dict(pytorch=ours, artefact=theirs) for name, (ours, theirs) in self.metrics.items()},
            metric_drop_allowed=METRIC_DROP[self.precision],
            exact=self.exact,
            latency=[row.to_dict() for row in self.latency],
            latency_ratio=ratio(self.latency, of='PyTorch', to='artefact') if self.latency else None,
        )


def _first_images(config: Config, images: int) -> BaseDataset:
    """The test split, with its first images only.

    Raises:
        DataError: If it has none.
    """
    settings = copy.deepcopy(config.test_dataloader.dataset)
    settings.update(indices=images, serialize_data=False)  # nothing cannot be serialised
    dataset = DATASETS.build(settings)
    if not len(dataset):
        raise DataError(
            f'The test split at {settings.get("data_root")} has no images.',
            expected='images to compare on',
            fix='correct test_dataloader.dataset of the config, or give an image by --image',
        )
    return dataset


def _evaluator_of(config: Config, dataset: BaseDataset, folder: Path) -> Evaluator:
    """The evaluator of the config, for the images of a data set only."""
    evaluators = copy.deepcopy(config.test_evaluator)
    for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        if evaluator.get('ann_file'):
            content = json.loads(Path(evaluator.ann_file).read_text())
            # in the order of the file, which is not that of their numbers everywhere
            ids = {dataset.get_data_info(index)['img_id'] for index in range(len(dataset))}
            content['images'] = [image for image in content['images'] if image['id'] in ids]
            content['annotations'] = [item for item in content['annotations'] if item['image_id'] in ids]
            path = folder / 'annotations.json'
            path.write_text(json.dumps(content))
            evaluator.ann_file = str(path)
    found = Evaluator(evaluators)
    found.dataset_meta = dataset.metainfo
    return found


def _has_data(config: Config) -> bool:
    dataset = config.test_dataloader.dataset
    root = Path(dataset.get('data_root') or '.')
    prefixes = (dataset.get('data_prefix') or {}).values()
    return root.is_dir() and all((root / prefix).is_dir() for prefix in prefixes)


def _predictions(networks: Mapping[str, nn.Module], item: Mapping) -> dict[str, BaseDataElement]:
    with torch.no_grad():
        return {name: network.test_step(pseudo_collate([copy.deepcopy(item)]))[0] for name, network in networks.items()}


def _compared(sample: BaseDataElement) -> BaseDataElement:
    return sample.pred_instances if 'pred_instances' in sample else sample


def _drawable(found: BaseDataElement) -> BaseDataElement:
    return found.pred_sem_seg if 'pred_sem_seg' in found else found


def _on_the_test_split(networks: Mapping[str, nn.Module], config: Config, images: int, progress: bool):
    """Predictions of all networks on the first images of the test split, and the metrics of each."""
    init_default_scope(config.default_scope)
    # pycocotools prints pages; what matters of them is in the report
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        dataset = _first_images(config, images)
        evaluators = {name: _evaluator_of(config, dataset, Path(folder)) for name in networks}
        pairs = []
        for index in tqdm(range(len(dataset)), desc='      compare', disable=not progress, leave=False):
            item = dataset[index]
            samples = _predictions(networks, item)
            pairs.append([_compared(copy.deepcopy(sample)) for sample in samples.values()])
            for name, evaluator in evaluators.items():
                evaluator.process(data_samples=[samples[name]], data_batch=pseudo_collate([item]))
        metrics = {name: evaluator.evaluate(len(dataset)) for name, evaluator in evaluators.items()}
    return pairs, metrics


def prove(
    reference: nn.Module,
    artefact: nn.Module,
    config: Config,
    *,
    subject: str,
    precision: str,
    images: int,
    image: str | None = None,
    timed: bool = True,
    device: str = 'cpu',
    progress: bool = True,
) -> tuple[Proof, list[tuple[np.ndarray, dict[str, BaseDataElement]]]]:
    """Compare an artefact with PyTorch, which takes equal scores in the order of :class:`EqualScoresByPlace`.

    Args:
        reference: The network in PyTorch, which pads its input as the artefact does.
        artefact: A :class:`~mmtrtvit.deploy.proof.backend_model.BackendModel`.
        config: The model config that both follow.
        subject: What is run in the artefact's place, in words.
        precision: Of the artefact.
        images: How many of the test split to compare and evaluate on.
        image: Compare on this image alone, without metrics.
        timed: Whether to time both, in turn.
        device: What the artefact runs on, ``'cpu'`` or ``'cuda'``: PyTorch is timed there as well.
        progress: Show a bar.

    Returns:
        The proof; and the first images (RGB), each with what both found, to be drawn: instances or a label map.
    """
    networks = {'PyTorch': reference, 'artefact': artefact}
    metrics: dict[str, tuple[float, float]] = {}
    artefact.exact.clear()
    if image is None and _has_data(config):
        with EqualScoresByPlace():
            pairs, found = _on_the_test_split(networks, config, images, progress)
        metrics = {
            # what finds nothing at all has no metrics
            name: (float(value), float(found['artefact'].get(name, 0.0)))
            for name, value in found['PyTorch'].items()
            # COCO says -1 where nothing of that kind is in these images
            if isinstance(value, numbers.Real) and np.isfinite(value) and value >= 0
        }
        samples = sample_images(config, min(images, 4))
    else:
        samples = [read_image(image)] if image else sample_images(config, images)
        with EqualScoresByPlace():
            pairs = [[run_on_image(network, sample, config) for network in networks.values()] for sample in samples]
    tolerance = Tolerance.of(precision)
    compare = compare_label_maps if 'pred_sem_seg' in pairs[0][0] else compare_detections
    parity = compare([tuple(pair) for pair in pairs], tolerance)
    exact = sum(artefact.exact) / len(artefact.exact) if artefact.exact else None
    drawn = [
        (
            sample[..., ::-1],
            {name: _drawable(run_on_image(network, sample, config)) for name, network in networks.items()},
        )
        for sample in samples
    ]
    latency = []
    if timed:
        reference.to(device)
        latency = measure(
            {
                name: lambda network=network: run_on_image(network, samples[0], config)
                for name, network in networks.items()
            },
            scope=SCOPE,
            settings=dict(
                image='x'.join(map(str, samples[0].shape[:2])),
                batch=1,
                precision=precision,
                device=device,
                threads=torch.get_num_threads(),
            ),
            min_runs=10,
            max_seconds=60.0,
        )
        reference.to('cpu')
    return Proof(subject, precision, parity, metrics, exact, latency), drawn
