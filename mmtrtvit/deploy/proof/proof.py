"""The proof of an artefact: its comparison with PyTorch in outputs, metrics and latency."""

import dataclasses

from ...latency import Latency, ratio
from ...runtime.tasks import TASKS
from .classification_parity import ClassificationParity
from .detection_parity import DetectionParity
from .segmentation_parity import SegmentationParity
from .tolerance import EXACT, Failure, Tolerance

Parity = DetectionParity | SegmentationParity | ClassificationParity

_ROUNDING = 1e-9
"""Allowance for the rounding of two metrics that are subtracted."""

_COUNTED = {task.metric: task.perfect for task in TASKS.values()}
"""Suffix of the metrics that decide the verdict, to their value for a perfect network."""

_LOOK = 'visual_check.png shows where'
_NEXT = {
    'fp32': f'{_LOOK}; tools/deploy.py --images 32 tells whether many images differ',
    'fp16': f'{_LOOK}; tools/deploy.py --precision fp16 --search looks for layers to leave in FP32',
    'bf16': f'{_LOOK}; use tools/deploy.py --precision fp32, or fp16 where the backend has it',
    'int8': f'{_LOOK}; tools/deploy.py --precision int8 --search, or another --calibration, or --precision fp16',
}
"""Precision to the advice for an artefact that differs."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of PyTorch and of the artefact on the same images.

    Attributes:
        pytorch, artefact: The metric of each.
        interval: The interval of the loss, ``pytorch - artefact``, at 90 % confidence; None if it was not determined,
            or if all images of the test split were compared.
    """

    pytorch: float
    artefact: float
    interval: tuple[float, float] | None = None

    @property
    def loss(self) -> float:
        """By how much the artefact is worse."""
        return self.pytorch - self.artefact

    def __str__(self) -> str:
        text = f'{self.pytorch:.4g} -> {self.artefact:.4g}'
        return text if self.interval is None else f'{text} (loss {self.interval[0]:.4f} to {self.interval[1]:.4f})'


@dataclasses.dataclass
class Proof:
    """Comparison of an artefact with PyTorch.

    Attributes:
        subject: The network that ran: the engine, or its substitute.
        precision: Precision of the artefact, which sets the tolerances.
        parity: Comparison of detections, label maps or class scores, image by image.
        metrics: The metrics by name; empty without annotated data.
        exact: Share of the images for which the portable selection of boxes was certain; ``None`` if not reported.
        latency: One row each for PyTorch and the artefact, measured in turn; empty if the engine cannot run here.
        not_finite: The first layer of PyTorch whose output was infinite or NaN; None if there is none.
        threads: Number of threads of PyTorch, and of the engine on a CPU.
    """

    subject: str
    precision: str
    parity: Parity
    metrics: dict[str, Metric]
    exact: float | None
    latency: list[Latency]
    not_finite: str | None = None
    threads: int | None = None

    @property
    def counted(self) -> dict[str, Metric]:
        """The metrics that decide the verdict."""
        return {name: metric for name, metric in self.metrics.items() if name.endswith(tuple(_COUNTED))}

    @property
    def failures(self) -> list[str]:
        """A message for each criterion that is not met: the value, the limit, and the next step."""
        found = [(failure, _NEXT[self.precision]) for failure in (*self.parity.failures, *self._lost()[0])]
        if self.not_finite or self.parity.reference_not_finite:
            place = f'first in layer {self.not_finite}' if self.not_finite else 'in its results'
            failure = Failure('PyTorch itself gives values that are infinite or not a number', place, 'none')
            step = 'tools/deploy.py with an earlier checkpoint, from before the training diverged'
            found.insert(0, (failure, step))
        if not self.parity.compared:
            failure = Failure('nothing was compared', f'PyTorch finds nothing in {self.parity.images} images', '1')
            step = 'tools/deploy.py --image FILE with objects in it, more --images, or a trained checkpoint'
            found.append((failure, step))
        if self.exact is not None and self.exact < 1:
            failure = Failure('the selection of boxes was not certain', f'in {1 - self.exact:.1%} of the images', '0 %')
            found.append((failure, 'tools/deploy.py --flavour native, where the backend has NonMaxSuppression'))
        return [f'{failure}. Next: {step}' for failure, step in found]

    @property
    def doubts(self) -> list[str]:
        """A message for each criterion that too few images, or too many ties, leave open."""
        step = f'tools/deploy.py --images {4 * self.parity.images}, or as many as the test split has'
        return [f'{doubt}. Next: {step}' for doubt in (*self.parity.doubts, *self._lost()[1])]

    def _lost(self) -> tuple[list[Failure], list[Failure]]:
        """The metrics that drop too much, and those of which that cannot be said."""
        tolerance, failures, doubts = Tolerance.of(self.precision), [], []
        for name, metric in self.counted.items():
            (perfect,) = (value for ending, value in _COUNTED.items() if name.endswith(ending))
            limit = tolerance.metric_drop * perfect
            low, high = metric.interval or (metric.loss, metric.loss)
            failure = Failure(f'{name} drops', f'from {metric}', f'{limit:g} less')
            if not low <= limit + _ROUNDING:  # also true for NaN
                failures.append(failure)
            # in FP32, the detections themselves decide: they are the same to a thousandth
            elif high > limit + _ROUNDING and tolerance != EXACT:
                doubts.append(dataclasses.replace(failure, criterion=f'{name} may drop'))
        return failures, doubts

    @property
    def verdict(self) -> str:
        """``PASS``, ``FAIL``, or ``UNDECIDED`` if no criterion fails and one is left open."""
        return 'FAIL' if self.failures else 'UNDECIDED' if self.doubts else 'PASS'

    @property
    def passed(self) -> bool:
        """True if everything is within the tolerances."""
        return self.verdict == 'PASS'

    def __str__(self) -> str:
        reasons = self.failures or self.doubts
        return f'{self.verdict}: {"; ".join(reasons)}' if reasons else self.verdict

    def to_dict(self) -> dict:
        """The proof as plain data, with the verdict and its grounds."""
        return dict(
            subject=self.subject,
            precision=self.precision,
            verdict=self.verdict,
            passed=self.passed,
            failures=self.failures,
            doubts=self.doubts,
            parity=self.parity.to_dict(),
            metrics={
                name: dict(pytorch=metric.pytorch, artefact=metric.artefact, loss_interval=metric.interval)
                for name, metric in self.metrics.items()
            },
            metric_drop_allowed=Tolerance.of(self.precision).metric_drop,
            exact=self.exact,
            not_finite=self.not_finite,
            threads=self.threads,
            latency=[row.to_dict() for row in self.latency],
            latency_ratio=ratio(self.latency, of='PyTorch', to='artefact') if self.latency else None,
        )
