"""The proof beside an engine: that it finds what PyTorch finds, scores what PyTorch scores, and how long it takes."""

import dataclasses

from ...latency import Latency, ratio
from ...runtime.tasks import TASKS
from .detection_parity import DetectionParity
from .segmentation_parity import SegmentationParity
from .tolerance import Failure, Tolerance

_ROUNDING = 1e-9
"""What is lost when one rounded metric is taken from another."""

_COUNTED = {task.metric: task.perfect for task in TASKS.values()}
"""Metrics that the verdict looks at end in one of these; and their value for a perfect network."""

_LOOK = 'visual_check.png shows where'
_NEXT = {
    'fp32': f'{_LOOK}; tools/deploy.py --images 32 tells whether many images differ',
    'fp16': f'{_LOOK}; tools/deploy.py --precision fp16 --search looks for layers to leave in FP32',
    'bf16': f'{_LOOK}; use tools/deploy.py --precision fp32, or fp16 where the backend has it',
    'int8': f'{_LOOK}; tools/deploy.py --precision int8 --search, or another --calibration, or --precision fp16',
}
"""What to do about an artefact of each precision that differs."""


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
        """Each criterion that is not met: what was found, the limit, and what to do next."""
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
            if not ours - theirs <= allowed * perfect + _ROUNDING:  # nor is NaN
                value = f'from {ours:.4g} to {theirs:.4g}'
                found.append(Failure(f'{name} drops', value, f'{allowed * perfect:g} less'))
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
            metric_drop_allowed=Tolerance.of(self.precision).metric_drop,
            exact=self.exact,
            latency=[row.to_dict() for row in self.latency],
            latency_ratio=ratio(self.latency, of='PyTorch', to='artefact') if self.latency else None,
        )
