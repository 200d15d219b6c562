"""The proof of an artefact: its comparison with PyTorch in outputs, metrics and latency."""

import dataclasses

from ...latency import Latency, ratio
from ...runtime.tasks import TASKS
from .detection_parity import DetectionParity
from .segmentation_parity import SegmentationParity
from .tolerance import Failure, Tolerance

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


@dataclasses.dataclass
class Proof:
    """Comparison of an artefact with PyTorch.

    Attributes:
        subject: The network that ran: the engine, or its substitute.
        precision: Precision of the artefact, which sets the tolerances.
        parity: Comparison of detections or label maps, image by image.
        metrics: Metric to PyTorch's and the artefact's value; empty without annotated data.
        exact: Share of the images for which the portable selection of boxes was certain; ``None`` if not reported.
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
        """The metrics that decide the verdict."""
        return {name: pair for name, pair in self.metrics.items() if name.endswith(tuple(_COUNTED))}

    @property
    def failures(self) -> list[str]:
        """A message for each criterion that is not met: the value, the limit, and the next step."""
        differs = [*self.parity.failures, *self._metric_failures()]
        found = [(failure, _NEXT[self.precision]) for failure in differs]
        if self.parity.reference_not_finite:
            values = f'{self.parity.reference_not_finite} of them'
            failure = Failure('PyTorch itself gives values that are infinite or not a number', values, '0')
            found.insert(0, (failure, 'export a checkpoint from before the training diverged'))
        if not self.parity.compared:
            failure = Failure('nothing was compared', f'PyTorch finds nothing in {self.parity.images} images', '1')
            found.append((failure, 'give an image with objects by --image, more --images, or a trained checkpoint'))
        if self.exact is not None and self.exact < 1:
            failure = Failure('the selection of boxes was not certain', f'in {1 - self.exact:.1%} of the images', '0 %')
            found.append((failure, 'tools/deploy.py --flavour native, where the backend has NonMaxSuppression'))
        return [f'{failure}. Next: {step}' for failure, step in found]

    def _metric_failures(self) -> list[Failure]:
        allowed, found = Tolerance.of(self.precision).metric_drop, []
        for name, (ours, theirs) in self.counted.items():
            (perfect,) = (value for ending, value in _COUNTED.items() if name.endswith(ending))
            if not ours - theirs <= allowed * perfect + _ROUNDING:  # also true for NaN
                value = f'from {ours:.4g} to {theirs:.4g}'
                found.append(Failure(f'{name} drops', value, f'{allowed * perfect:g} less'))
        return found

    @property
    def passed(self) -> bool:
        """True if everything is within the tolerances."""
        return not self.failures

    def to_dict(self) -> dict:
        """The proof as plain data, with the verdict and its grounds."""
        return dict(
            subject=self.subject,
            precision=self.precision,
            passed=self.passed,
            failures=self.failures,
            parity=self.parity.to_dict(),
            metrics={name: dict(pytorch=ours, artefact=theirs) for name, (ours, theirs) in self.metrics.items()},
            metric_drop_allowed=Tolerance.of(self.precision).metric_drop,
            exact=self.exact,
            latency=[row.to_dict() for row in self.latency],
            latency_ratio=ratio(self.latency, of='PyTorch', to='artefact') if self.latency else None,
        )
