"""Making the proof of an artefact.

Both sides start from the same image in memory, each with its own pre- and post-processing: PyTorch with its test
pipeline and ``test_step``, the artefact with the runtime, as ``load(folder)(image)`` runs it. Where the engine cannot
run on this machine, the graph that it was built from runs in its place; which of the two is written down.
"""

import contextlib
import copy
import io
import numbers
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from tqdm import tqdm

from ...latency import Latency, measure
from ...runtime.postprocess import Detections, logits_at
from ...runtime.predictor import Predictor
from ...runtime.preprocess import read_image
from ...runtime.tensor_names import EXACT, OUTPUT
from .detection_parity import compare_detections
from .equal_scores import EqualScoresByPlace
from .evaluation import Split, has_test_data
from .images import sample_images
from .proof import Proof
from .reference import Reference
from .results import add_prediction, predicted, result_of
from .segmentation_parity import Segmented, compare_label_maps
from .tolerance import Tolerance

SCOPE = 'end-to-end: one image in memory to results in its pixels; the artefact as load(folder)(image) runs it'

DRAWN = 4
"""How many images are drawn, at most."""

Drawn = list[tuple[np.ndarray, dict[str, InstanceData | PixelData]]]


class _Comparison:
    """What both sides find in images, one after the other.

    Attributes:
        exact: For each image so far whether the portable selection of boxes was certain; empty for networks that do
            not say.
        drawn: The first images (RGB) with what both found.
    """

    def __init__(self, reference: Reference, predict: Predictor) -> None:
        self._reference, self._predict = reference, predict
        self.exact: list[bool] = []
        self.drawn: Drawn = []

    def __call__(self, image: np.ndarray, item: dict) -> tuple[tuple, tuple[BaseDataElement, BaseDataElement]]:
        """What PyTorch and the artefact find in an image, to be compared; and as data samples, to be evaluated."""
        with EqualScoresByPlace():
            ours = self._reference.test(item)
        outputs, frame = self._predict.outputs(image)
        found = self._predict.result(outputs, frame)
        theirs = copy.deepcopy(item['data_samples'])
        add_prediction(theirs, found)
        if EXACT in outputs:
            self.exact.append(bool(outputs[EXACT] > 0))
        results = dict(PyTorch=result_of(ours), artefact=found)
        if len(self.drawn) < DRAWN:
            self.drawn.append((image[..., ::-1], {name: predicted(result) for name, result in results.items()}))
        if isinstance(found, Detections):
            return tuple(results.values()), (ours, theirs)
        logits = ours.seg_logits.data.numpy(force=True) if 'seg_logits' in ours else None
        pair = Segmented(results['PyTorch'].labels, logits), Segmented(found.labels, logits_at(outputs[OUTPUT], frame))
        return pair, (ours, theirs)


def _on_the_test_split(compared: _Comparison, split: Split, progress: bool, metrics: dict) -> Iterator[tuple]:
    """What both find in the images of a split; ``metrics`` is filled when the last one was taken."""
    evaluators = [split.evaluator(), split.evaluator()]
    for image, item in tqdm(split, desc='      compare', disable=not progress, leave=False):
        pair, samples = compared(image, item)
        for evaluator, sample in zip(evaluators, samples, strict=True):
            evaluator.process(data_samples=[sample], data_batch=pseudo_collate([item]))
        yield pair
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints pages; the figures are in the report
        ours, theirs = (evaluator.evaluate(len(split)) for evaluator in evaluators)
    for name, value in ours.items():
        # COCO says -1 where nothing of that kind is in these images; a network that finds nothing has no metrics
        if isinstance(value, numbers.Real) and np.isfinite(value) and value >= 0:
            metrics[name] = float(value), float(theirs.get(name, 0.0))


def _latency(reference: Reference, predict: Predictor, image: np.ndarray, precision: str, device: str) -> list[Latency]:
    """PyTorch and the artefact on the same image, in turn, on the device of the artefact."""
    reference.model.to(device)
    try:
        return measure(
            dict(
                PyTorch=lambda: reference.test(reference.prepare(image)),
                artefact=lambda: predict(image),
            ),
            scope=SCOPE,
            settings=dict(
                image='x'.join(map(str, image.shape[:2])),
                batch=1,
                precision=precision,
                device=device,
                threads=torch.get_num_threads(),
            ),
            min_runs=10,
            max_seconds=60.0,
        )
    finally:
        reference.model.to('cpu')


def prove(
    model: nn.Module,
    predict: Predictor,
    config: Config,
    *,
    subject: str,
    precision: str,
    images: int,
    image: str | None = None,
    timed: bool = True,
    device: str = 'cpu',
    progress: bool = True,
) -> tuple[Proof, Drawn]:
    """Compare an artefact with PyTorch, which takes equal scores in the order of :class:`EqualScoresByPlace`.

    Args:
        model: The network in PyTorch, which pads its input as the artefact does.
        predict: The artefact, or what stands in for it.
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

    Raises:
        DataError: If there is no image, or one cannot be read.
    """
    reference = Reference(model, config)
    compared = _Comparison(reference, predict)
    metrics: dict[str, tuple[float, float]] = {}
    if image is None and has_test_data(config):
        pairs = _on_the_test_split(compared, Split(config, images), progress, metrics)
    else:
        pictures = [read_image(image)] if image else sample_images(config, images)
        pairs = (compared(picture, reference.prepare(picture))[0] for picture in pictures)
    compare = compare_label_maps if predict.manifest['task'] == 'segmentation' else compare_detections
    parity = compare(pairs, Tolerance.of(precision))
    exact = sum(compared.exact) / len(compared.exact) if compared.exact else None
    latency = []
    if timed:
        first = np.ascontiguousarray(compared.drawn[0][0][..., ::-1])
        latency = _latency(reference, predict, first, precision, device)
    return Proof(subject, precision, parity, metrics, exact, latency), compared.drawn
