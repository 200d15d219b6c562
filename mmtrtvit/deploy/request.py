"""The request: the settings of an export, read once from options or from a deploy config."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..runtime.backends import BACKENDS, Backend
from ..runtime.tasks import FLAVOURS, TASKS
from .export.deploy_configs import read_deploy_config
from .export.describe import describe_window, task_of
from .export.input_shapes import InputShapes
from .precision.calibration import METHODS
from .precision.convert import check_exclusion

BUILD_OPTIONS = ('targets', 'timing_cache', 'workspace_mib')
"""Options that only some backends have; see :attr:`mmtrtvit.runtime.backends.Backend.build_options`."""


@dataclasses.dataclass(frozen=True)
class DeployRequest:
    """Settings of an artefact to export.

    Attributes:
        task: The network's task, a key of :data:`~mmtrtvit.runtime.tasks.TASKS`.
        backend: A key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precision: A key of :data:`~mmtrtvit.runtime.precisions.PRECISIONS`.
        flavour: ``native`` or ``portable``.
        shapes: Input sizes; ``None`` for any size, which TensorRT does not support.
        deploy_cfg: Path of the deploy config that backend, flavour, shapes and workspace limit were read from.
        nodes_to_exclude: Nodes and modules that stay in FP32 in any precision.
        search: Whether to search for more of them until the outputs meet the tolerance of the precision.
        calibration: Method that chooses the ranges of INT8: ``minmax``, ``percentile`` or ``entropy``.
        targets: GPUs to build for, such as ``('sm86', 'sm120')``; TensorRT for RTX only.
        timing_cache: File with kernel timings, read if it exists and updated afterwards; TensorRT only.
        workspace_mib: Limit of the scratch memory, MiB; TensorRT only, unlimited by default.
    """

    task: str
    backend: str = 'onnxruntime'
    precision: str = 'fp32'
    flavour: str = 'native'
    shapes: InputShapes | None = None
    deploy_cfg: str | os.PathLike | None = None
    nodes_to_exclude: Sequence[str] = ()
    search: bool = False
    calibration: str = 'minmax'
    targets: Sequence[str] = ()
    timing_cache: str | os.PathLike | None = None
    workspace_mib: int | None = None

    @property
    def runs_on(self) -> Backend:
        """The backend that runs the artefact."""
        return BACKENDS[self.backend]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the input if they are fixed."""
        return self.shapes.size if self.shapes else None

    def check(self) -> None:
        """Check that the settings are compatible with each other.

        Raises:
            ConfigError: Naming the option that is not compatible.
        """
        for option, given, known in (
            ('--backend', self.backend, BACKENDS),
            ('--flavour', self.flavour, FLAVOURS),
            ('--calibration', self.calibration, METHODS),
        ):
            if given not in known:
                raise ConfigError(
                    f'{option} {given} is unknown.', expected=f'one of {", ".join(known)}', fix='correct it'
                )
        backend = self.runs_on
        if self.precision not in backend.precisions:
            able = [other.name for other in BACKENDS.values() if self.precision in other.precisions]
            raise ConfigError(
                f'--backend {backend.name} --precision {self.precision}: {backend.name} has no such precision.',
                expected=f'one of {", ".join(backend.precisions)}'
                + (f'; {self.precision} is known to {", ".join(able)}' if able else ''),
                fix='choose another precision or backend',
            )
        if self.shapes is None and backend.needs_shapes:
            raise ConfigError(
                f'--backend {backend.name} without an input size.',
                expected='--shape 800x1344, or --dynamic MIN OPT MAX for sizes that vary',
                fix='add one of them',
            )
        for option in BUILD_OPTIONS:
            if getattr(self, option) and option not in backend.build_options:
                able = [other.name for other in BACKENDS.values() if option in other.build_options]
                raise ConfigError(
                    f'--backend {backend.name} has no option --{option.replace("_", "-")}.',
                    expected=f'--backend {" or ".join(able)} beside it',
                    fix='leave it out',
                )
        check_exclusion(self.precision, backend.name, self.nodes_to_exclude, self.search)


def make_request(
    model: Mapping, deploy_cfg: str | os.PathLike | None = None, flavour: str | None = None, **options: Any
) -> DeployRequest:
    """Make the request for a network.

    Args:
        model: ``config.model``.
        deploy_cfg: An mmdeploy deploy config, instead of ``backend``, ``flavour`` and ``shapes``. Its workspace limit
            holds unless ``workspace_mib`` is given.
        flavour: ``native`` or ``portable``; for detectors the one of the backend by default.
        options: Other attributes of :class:`DeployRequest`.

    Raises:
        ConfigError: If options are unknown, contradict each other or do not suit the network.
        DeployError: If the deploy config is for a backend that this package does not export to.
    """
    task = TASKS[task_of(model)]
    if deploy_cfg is not None:
        options_too = {'flavour': flavour, **options}
        twice = [name for name in ('backend', 'flavour', 'shapes') if options_too.get(name) is not None]
        if twice:
            raise ConfigError(
                f'A deploy config and {", ".join(twice)} are given: the deploy config says that itself.',
                expected='one of the two',
                fix=f'leave out {", ".join(twice)}, or the deploy config',
            )
        given = read_deploy_config(deploy_cfg)
        flavour = given.pop('flavour')
        options = {**given, **{name: value for name, value in options.items() if value is not None}}
    options = {name: value for name, value in options.items() if value is not None}
    backend = BACKENDS.get(options.get('backend', DeployRequest.backend))
    if flavour is None:
        flavour = backend.flavour if backend and task.finds_boxes else DeployRequest.flavour
    request = DeployRequest(task.name, flavour=flavour, deploy_cfg=deploy_cfg, **options)
    request.check()
    _check_size(model, request)
    return request


def _check_size(model: Mapping, request: DeployRequest) -> None:
    """Check that PyTorch can pad images to a fixed size, too, and that a sliding window fits.

    Raises:
        ConfigError: If its sides are not multiples of the number that a detector pads to, or the window does not fit.
    """
    window, shapes = describe_window(model), request.shapes
    if (
        window
        and shapes
        and (shapes.size or any(most < side for most, side in zip(shapes.largest[2:], window['size'])))
    ):
        raise ConfigError(
            f'Inputs up to {"x".join(map(str, shapes.largest[2:]))} for a network that slides a window of '
            f'{"x".join(map(str, window["size"]))}.',
            expected='sizes that vary, from the smallest image to the window',
            fix='use --dynamic, or --cfg-options model.test_cfg.mode=whole for whole images',
        )
    divisor = model.get('data_preprocessor', {}).get('pad_size_divisor', 1)
    if request.size is None or not any(side % divisor for side in request.size):
        return
    fitting = 'x'.join(str(-(-side // divisor) * divisor) for side in request.size)
    raise ConfigError(
        f'An input of {request.size[0]} x {request.size[1]} for a network that pads to multiples of {divisor}.',
        expected=f'a height and a width that are multiples of {divisor} (pad_size_divisor of the config)',
        fix=f'use --shape {fitting}',
    )
