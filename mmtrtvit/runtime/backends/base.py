"""The interface of a backend, and the session that runs a network."""

import abc
import ctypes
import dataclasses
import importlib
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ...environment import PARTS
from ...errors import DeployError
from ..tensor_names import ONNX_FILE


class TensorSpec(NamedTuple):
    """An input or output of a network.

    Attributes:
        name: The tensor's name in the graph.
        dtype: The NumPy type, such as ``'float32'``.
        shape: The sides. A free side is given by the name of its dimension, or -1 if it is unnamed.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def fits(self, array: np.ndarray) -> bool:
        """True if an array has this rank and these fixed sides."""
        return array.ndim == len(self.shape) and all(
            isinstance(side, str) or side in (-1, given) for side, given in zip(self.shape, array.shape, strict=True)
        )


class Session(abc.ABC):
    """A loaded network. Any number of threads may run it at the same time.

    Attributes:
        device: Device it computes on: ``'cpu'``, ``'cuda'``, or OpenVINO's ``'gpu'`` or ``'npu'``. Compare latencies on
            the same device only.
        streams: Number of runs that should go on at the same time.
        inputs, outputs: Tensors it takes and returns, in the order of the graph.
    """

    device: str = 'cpu'
    streams: int = 1
    inherited: bool = False
    """Whether this process was forked from the one that loaded the network, so that the backend's threads are gone."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            feeds: Name to array for every input. Floating-point arrays are float32, whatever the precision of the
                network.

        Returns:
            Name to array for every output. Floating-point arrays are float32.

        Raises:
            DeployError: If an input is missing or its shape does not fit the network, or another process loaded it.
        """
        if self.inherited:
            raise DeployError(
                'The network was loaded before this process was forked; the threads of its backend do not exist here.',
                expected='a network that each process loads for itself',
                fix="call load(folder) in the new process, or start it with multiprocessing's 'spawn'",
            )
        for spec in self.inputs:
            given = feeds.get(spec.name)
            if given is None or not spec.fits(given):
                sides = ' x '.join(map(str, spec.shape))
                said = 'nothing' if given is None else ' x '.join(map(str, given.shape))
                raise DeployError(
                    f'Input {spec.name!r}: {said} was given.',
                    expected=f'{sides} ({spec.dtype})',
                    fix='give an image of that size, or export with --dynamic for sizes that vary',
                )
        outputs = self.run({spec.name: feeds[spec.name] for spec in self.inputs})
        return {
            name: array.astype(np.float32, copy=False) if array.dtype.kind == 'f' else array
            for name, array in outputs.items()
        }

    def __reduce__(self) -> NoReturn:
        raise DeployError(
            'A loaded network cannot be sent to another process.',
            fix='send the predictor that load(folder) returns, which loads it again there, or the folder',
        )

    @abc.abstractmethod
    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network on arrays that were already checked."""


_OPEN: weakref.WeakSet[Session] = weakref.WeakSet()


def _leave_sessions_to_the_parent() -> None:
    """Mark the sessions that a forked process inherited, and never release them: that would wait for their threads."""
    for session in _OPEN:
        session.inherited = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
    libc = ctypes.CDLL(None)
    if len(_OPEN) and hasattr(libc, 'on_exit'):
        # ONNX Runtime's exit handler waits for them as well. Handlers run last first, so this one ends the process.
        libc.on_exit(libc._exit, None)


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(after_in_child=_leave_sessions_to_the_parent)


@dataclasses.dataclass(frozen=True)
class Int8Form:
    """The form of INT8 graphs that a backend is fast with.

    Attributes:
        beside: Precision of the layers that are not quantised.
        shortcuts: Whether shortcuts that are added to convolutions are quantised as well.
        whole: Whether biases, and outputs of convolutions, are quantised as well.
        unsigned: Whether activations are UINT8 rather than INT8: with zero point 0 where they are never negative, which
            makes a ReLU part of the rounding, and 128 elsewhere.
    """

    beside: str = 'fp32'
    shortcuts: bool = False
    whole: bool = False
    unsigned: bool = False


@dataclasses.dataclass(frozen=True)
class Backend:
    """A backend. Each one is described once, in a module of this package, and registered in :data:`BACKENDS`.

    Attributes:
        name: Its name in ``--backend``, the manifest and mmdeploy.
        title: Its name in tables and pages.
        module: The Python module it needs.
        open: Opens a session: ``open(path, **options)``, with options from :attr:`session_options`. Imports
            the module only when called.
        precisions: Precisions it can compute in.
        devices: Devices it can run on. The first one is the default.
        convert: Converts the ONNX file to the backend's own format: ``convert(onnx_path, path)``. ``None`` if it
            reads ONNX, or if its engines are built in :mod:`mmtrtvit.deploy.engines`.
        engine_file: The file that it runs.
        weights_file: The file with the weights, if they are stored separately.
        session_options: Options a user may set when loading an artefact (``threads``, ``streams``, ``device``), and
            ``precision`` if the session needs it.
        build_options: Options a user may set when building an engine.
        precisions_by_setting: Precisions that it applies to the float32 graph by a setting of the session.
        int8: The form of its INT8 graphs.
        remarks: Precision to a remark on its arithmetic.
        needs_shapes: Whether engines are built for a range of input sizes.
        flavour: Flavour of detectors by default. The portable one needs neither ``NonMaxSuppression`` nor ``NonZero``
            nor ``RoiAlign``.
        most_suppressed: Number of boxes of an image that its ``NonMaxSuppression`` considers; None for all.
    """

    name: str
    title: str
    module: str
    open: Callable[..., Session]
    precisions: tuple[str, ...]
    devices: tuple[str, ...] = ('cpu',)
    convert: Callable[[Path, Path], None] | None = None
    engine_file: str = ONNX_FILE
    weights_file: str = ''
    session_options: tuple[str, ...] = ()
    build_options: tuple[str, ...] = ()
    precisions_by_setting: tuple[str, ...] = ()
    int8: Int8Form = Int8Form()
    remarks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs_shapes: bool = False
    flavour: str = 'native'
    most_suppressed: int | None = None

    @property
    def place(self) -> str:
        """The default device, in words."""
        return {'cpu': 'the CPU', 'cuda': 'the GPU'}[self.devices[0]]

    def open_session(self, path: str | os.PathLike, *, precision: str = 'fp32', **options: Any) -> Session:
        """Load a network.

        Args:
            path: The engine file.
            precision: Precision of the artefact. Only backends that set the precision themselves use it.
            options: Options set by the user, such as ``threads``. ``None`` means the backend's default.

        Raises:
            DeployError: If the backend is not installed, does not know an option, or cannot load the file.
        """
        given = {key: value for key, value in options.items() if value is not None}
        unknown = sorted(set(given) - set(self.session_options))
        if unknown:
            known = ', '.join(name for name in self.session_options if name != 'precision')
            raise DeployError(
                f'The backend {self.name} has no option {", ".join(unknown)}.',
                expected=f'only {known}' if known else 'no options',
                fix='leave it out',
            )
        if not Path(path).is_file():
            raise DeployError(f'There is no file {path} for {self.name}.', fix='export it with tools/deploy.py')
        if 'device' in given:
            given['device'] = str(given['device']).lower()
        _check_threads(given)
        if 'precision' in self.session_options:
            given['precision'] = precision
        session = self.open(path, **given)
        _OPEN.add(session)
        return session


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_threads(options: Mapping[str, Any]) -> None:
    """Raise an error if options name unusable threads, or more streams than the threads of a CPU can serve."""
    streams, device = options.get('streams', 1), options.get('device', 'cpu')
    most = options.get('threads', available_cores())
    if not _is_number(most):
        raise DeployError(f'threads={most!r} was given.', expected='a number from 1 on', fix='correct it')
    if device != 'cpu' and streams != 1:
        raise DeployError(
            f'streams={streams} was given for device={device!r}.',
            expected='streams on the CPU only',
            fix='leave it out',
        )
    if not _is_number(streams) or streams > most:
        raise DeployError(
            f'streams={streams!r} was given, and there are {most} threads to share.',
            expected=f'a number from 1 to {most}',
            fix='choose such a number',
        )


def import_package(module: str) -> ModuleType:
    """Import the Python module of a backend.

    Raises:
        DeployError: If it is not installed or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken native library may raise anything
        part = next((part for part in PARTS if part.module == module), None)
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        state = 'is not installed' if missing else f'cannot be imported ({type(error).__name__}: {error})'
        purpose = f', needed for {part.purpose},' if part else ''
        raise DeployError(
            f'The package {module}{purpose} {state}.', fix=f'pip install "{part.requirement if part else module}"'
        ) from error
