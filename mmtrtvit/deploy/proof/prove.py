"""Running the proof of an artefact.

Both sides start from the same image in memory and use their own pre- and postprocessing: PyTorch its test pipeline and
``test_step``, the artefact the runtime, as in ``load(folder)(image)``. If the engine cannot run on this machine, the
graph that it was built from runs in its place. The proof records which of the two ran.
"""

import contextlib
import copy
import dataclasses
import io
import numbers
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData
from tqdm import tqdm

from ...latency import Latency, measure
from ...runtime.postprocess import Detections, LabelMap, logits_at
from ...runtime.predictor import Predictor, Result
from ...runtime.preprocess import read_image
from ...runtime.tensor_names import EXACT, OUTPUT
from .classification_parity import compare_scores
from .detection_parity import ATTEMPTS, compare_detections
from .equal_scores import EqualScoresByPlace
from .evaluation import Split, has_test_data
from .images import sample_images
from .not_finite import NotFinite
from .proof import Metric, Parity, Proof
from .reference import Reference
from .resampling import evaluate, loss_interval
from .results import add_prediction, predicted, result_of
from .rounding import other_rounding
from .segmentation_parity import Segmented, compare_label_maps
from .tolerance import EXACT as FLOAT32
from .tolerance import Tolerance

SCOPE = 'end-to-end: one image in memory to results in its pixels; the artefact as load(folder)(image) runs it'

DRAWN = 4
"""Maximum number of images to draw."""

Drawn = list[tuple[np.ndarray, dict[str, InstanceData | PixelData | LabelData]]]


class _Comparison:
    """Runs both sides on one image after the other.

    Attributes:
        exact: Whether the portable selection of boxes was certain, for each image so far; empty for networks without
            this output.
        drawn: The first images (RGB) with the results of both.
        not_finite: The first layer of PyTorch whose output was not finite.
    """

    def __init__(self, reference: Reference, predict: Predictor) -> None:
        self._reference, self._predict = reference, predict
        self.exact: list[bool] = []
        self.drawn: Drawn = []
        self.not_finite = NotFinite()

    def __call__(self, image: np.ndarray, item: dict) -> tuple[tuple, tuple[BaseDataElement, BaseDataElement]]:
        """Results of PyTorch and the artefact for an image: a pair to compare, and a pair of data samples to score."""
        with EqualScoresByPlace(), self.not_finite.watch(self._reference.model):
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
        if not isinstance(found, LabelMap):
            return tuple(results.values()), (ours, theirs)
        logits = ours.seg_logits.data.numpy(force=True) if 'seg_logits' in ours else None
        pair = Segmented(results['PyTorch'].labels, logits), Segmented(found.labels, logits_at(outputs[OUTPUT], frame))
        return pair, (ours, theirs)

    def again(self, item: dict, seed: int) -> Detections:
        """PyTorch's detections with other rounding errors."""
        with EqualScoresByPlace(), other_rounding(self._reference.model, seed):
            return result_of(self._reference.test(item))


class _Pictures:
    """Images without annotations, in the form of a :class:`Split`."""

    def __init__(self, pictures: Sequence[np.ndarray], reference: Reference) -> None:
        self._pictures, self._reference = pictures, reference

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict]:
        return self._pictures[index], self._reference.prepare(self._pictures[index])


def _evaluated(compared: _Comparison, split: Split, progress: bool, metrics: dict[str, Metric]) -> Iterator[tuple]:
    """Yield both results for the images of a split. Fills ``metrics`` after the last one."""
    evaluators = [split.evaluator(), split.evaluator()]
    for image, item in tqdm(split, desc='      compare', disable=None if progress else True, leave=False):
        pair, samples = compared(image, item)
        for evaluator, sample in zip(evaluators, samples, strict=True):
            evaluator.process(data_samples=[sample], data_batch=pseudo_collate([item]))
        yield pair
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints pages of text; the report has the figures
        (ours, our_draws), (theirs, their_draws) = (evaluate(evaluator, len(split)) for evaluator in evaluators)
    for name, value in ours.items():
        # COCO gives -1 if these images have nothing of that kind; a network that finds nothing has no metrics
        if not (isinstance(value, numbers.Real) and np.isfinite(value) and value >= 0):
            continue
        interval = None
        if not split.whole and name in our_draws and name in their_draws:
            interval = loss_interval(our_draws[name], their_draws[name], len(split))
        metrics[name] = Metric(float(value), float(theirs.get(name, 0.0)), interval)


def _with_whole_masks(found: Result) -> Result:
    """A result whose masks are pasted, as those of PyTorch are."""
    if isinstance(found, Detections) and found.masks is not None:
        return dataclasses.replace(found, masks=np.asarray(found.masks))
    return found


def _latency(reference: Reference, predict: Predictor, image: np.ndarray, precision: str, device: str) -> list[Latency]:
    """Latency of PyTorch and the artefact on the same image, measured in turn, on the device of the artefact."""
    reference.model.to(device)
    try:
        return measure(
            dict(
                PyTorch=lambda: reference.test(reference.prepare(image)),
                artefact=lambda: _with_whole_masks(predict(image)),
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
            until_steady=False,
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
    """Compare an artefact with PyTorch, which orders equal scores by :class:`EqualScoresByPlace`.

    Args:
        model: The PyTorch network, which pads its input like the artefact.
        predict: The artefact, or its substitute.
        config: The model config of both.
        subject: Description of the network that runs for the artefact.
        precision: Precision of the artefact.
        images: Number of images of the test split to compare and evaluate on.
        image: Compare on this image only, without metrics.
        timed: Whether to time both, in turn.
        device: Device of the artefact, ``'cpu'`` or ``'cuda'``. PyTorch is timed on the same device.
        progress: Show a progress bar.

    Returns:
        The proof, and the first images (RGB) with the results of both to draw.

    Raises:
        DataError: If no image is available, or one cannot be read.
    """
    reference = Reference(model, config)
    compared = _Comparison(reference, predict)
    metrics: dict[str, Metric] = {}
    source: Split | _Pictures
    if image is None and has_test_data(config):
        source = Split(config, images)
        pairs = _evaluated(compared, source, progress, metrics)
    else:
        source = _Pictures([read_image(image)] if image else sample_images(config, images), reference)
        pairs = (compared(*pair)[0] for pair in source)
    tolerance = Tolerance.of(precision)
    parity: Parity
    if predict.manifest['task'] == 'segmentation':
        parity = compare_label_maps(pairs, tolerance)
    elif predict.manifest['task'] == 'classification':
        parity = compare_scores(pairs, tolerance)
    else:

        def again(place: int, attempt: int) -> Detections:
            return compared.again(source[place][1], seed=ATTEMPTS * place + attempt)

        # other precisions have their own tolerance, larger than the rounding errors of float32
        parity = compare_detections(pairs, tolerance, again if tolerance == FLOAT32 else None)
    exact = sum(compared.exact) / len(compared.exact) if compared.exact else None
    latency = []
    if timed:
        first = np.ascontiguousarray(compared.drawn[0][0][..., ::-1])
        latency = _latency(reference, predict, first, precision, device)
    not_finite, threads = compared.not_finite.layer, torch.get_num_threads()
    proof = Proof(subject, precision, parity, metrics, exact, latency, not_finite, threads)
    return proof, compared.drawn
