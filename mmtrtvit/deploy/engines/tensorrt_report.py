"""Report on an engine: its layers, the operators fused into each, data types and memory.

TensorRT for RTX describes an engine in a log message while it builds, without a GPU. TensorRT describes it through its
engine inspector, on the GPU that the engine is for. Both become the same :class:`EngineReport`.
"""

import collections
import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping

from ...markdown import table

_DATA_TYPES = {
    'float': 'float32',
    'fp32': 'float32',
    'half': 'float16',
    'fp16': 'float16',
    'bf16': 'bfloat16',
    'bfloat16': 'bfloat16',
    'int8': 'int8',
    'fp8': 'float8',
    'uint8': 'uint8',
    'int32': 'int32',
    'int64': 'int64',
    'bool': 'bool',
}
"""Data types in TensorRT's log and inspector, in lower case, to our names."""

_BYTES = {
    'float32': 4,
    'float16': 2,
    'bfloat16': 2,
    'int8': 1,
    'float8': 1,
    'uint8': 1,
    'int32': 4,
    'int64': 8,
    'bool': 1,
}

_COMPUTED = ('float32', 'float16', 'bfloat16', 'float8', 'int8')
"""Types that layers compute in. The other types hold indices, shapes and conditions."""

_FIELDS = ('LayerType', 'Inputs', 'Constants', 'Outputs', 'TacticName', 'StreamId', 'Metadata')
_FIELD = re.compile(rf', ({"|".join(_FIELDS)}): ?')
_TENSOR = re.compile(r'\{ Name: (?P<name>.*?), Dimensions: \[(?P<sides>[^\]]*)\].*?Datatype: (?P<type>\w+)')
_SOURCE = re.compile(r'\[ONNX Layer: ([^\]]*)\]')
_MEMORY = {
    'activation_bytes': re.compile(r'Total Activation Memory: (\d+) bytes'),
    'weights_bytes': re.compile(r'Total Weights Memory: (\d+) bytes'),
    'scratch_bytes': re.compile(r'Max Scratch Memory: (\d+) bytes'),
}

FUSIONS_SHOWN = 15
"""Number of rows in the table of fusions."""


def data_type(name: str) -> str:
    """Our name for a data type of TensorRT, which may include the format (``Row major linear FP16 format``)."""
    for word in re.findall(r'\w+', name.lower()):
        if word in _DATA_TYPES:
            return _DATA_TYPES[word]
    return 'unknown'


@dataclasses.dataclass
class EngineLayer:
    """A layer of an engine: a unit of execution.

    Attributes:
        name: Its name.
        kind: TensorRT's layer type, such as ``gemm``, ``correlation`` (a convolution) or ``kgen`` (a generated kernel).
        inputs, outputs: Data types of its inputs and outputs.
        fused: The ONNX nodes fused into it, as far as TensorRT names them.
    """

    name: str
    kind: str
    inputs: list[str]
    outputs: list[str]
    fused: list[str]

    @property
    def data_type(self) -> str:
        """The type it computes in: the first type in :data:`_COMPUTED` among its inputs, then its outputs.

        A layer without such a type handles indices or shapes; its first type is given, or ``'none'``.
        """
        types = self.inputs + self.outputs
        return next((name for name in types if name in _COMPUTED), next(iter(types), 'none'))

    @property
    def converts(self) -> bool:
        """True if it reads one compute type and writes another."""
        read, written = ([name for name in side if name in _COMPUTED] for side in (self.inputs, self.outputs))
        return bool(read and written) and read[0] != written[0]


@dataclasses.dataclass
class EngineReport:
    """Report on one engine, made when it was built.

    Attributes:
        package, version: The package that built it.
        targets: GPUs that it was built for, by compute capability; empty for TensorRT's default.
        profiles: Input to its smallest, usual and largest shape.
        engine_bytes: Size of the file.
        seconds: Stage of the build to its duration.
        layers: Its layers; empty if TensorRT did not list them.
        weights: Data type to the bytes of the constants; empty if TensorRT did not list them.
        activation_bytes, weights_bytes, scratch_bytes: Upper bounds of the memory use, reported by TensorRT.
        warnings: Warnings of TensorRT.
    """

    package: str
    version: str
    targets: list[str]
    profiles: dict[str, list[list[int]]]
    engine_bytes: int
    seconds: dict[str, float]
    layers: list[EngineLayer] = dataclasses.field(default_factory=list)
    weights: dict[str, int] = dataclasses.field(default_factory=dict)
    activation_bytes: int | None = None
    weights_bytes: int | None = None
    scratch_bytes: int | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)

    def share_of_layers(self) -> dict[str, float]:
        """Data type to the share, 0 to 1, of the layers that compute in it, without layers that handle shapes."""
        counts = collections.Counter(layer.data_type for layer in self.layers if layer.data_type != 'none')
        return {name: count / counts.total() for name, count in counts.most_common()}

    def share_of_weights(self) -> dict[str, float]:
        """Data type to its share, 0 to 1, of the bytes of the constants."""
        total = sum(self.weights.values())
        return {name: size / total for name, size in sorted(self.weights.items(), key=lambda item: -item[1])}

    def to_dict(self) -> dict:
        """The report as plain data, including the shares."""
        return dict(
            dataclasses.asdict(self),
            share_of_layers=self.share_of_layers(),
            share_of_weights=self.share_of_weights(),
        )


def _tensors(text: str) -> list[tuple[str, str, int]]:
    """Name, data type and number of elements (negative if free) of each tensor in a list of the log."""
    return [
        (
            found['name'],
            data_type(found['type']),
            math.prod(int(side) if re.fullmatch(r'-?\d+', side.strip()) else -1 for side in found['sides'].split(','))
            if found['sides'].strip()
            else 1,
        )
        for found in _TENSOR.finditer(text)
    ]


def read_log(messages: Iterable[str]) -> dict:
    """Layers, weights and memory from the log of TensorRT for RTX.

    Args:
        messages: Messages of the log, among them the one that begins with ``Layers:``.

    Returns:
        Arguments of :class:`EngineReport`, without those that the log does not mention.
    """
    found: dict = {}
    for message in messages:
        for key, pattern in _MEMORY.items():
            if match := pattern.search(message):
                found[key] = int(match[1])
        if not message.startswith('Layers:'):
            continue
        layers, constants = [], {}
        for line in message.splitlines():
            if not line.startswith('Name: ') or ', LayerType: ' not in line:
                continue
            name, *parts = _FIELD.split(line.removeprefix('Name: '))
            fields = dict(zip(parts[::2], parts[1::2], strict=True))
            layers.append(
                EngineLayer(
                    name=name,
                    kind=fields['LayerType'],
                    inputs=[type for _, type, _ in _tensors(fields.get('Inputs', ''))],
                    outputs=[type for _, type, _ in _tensors(fields.get('Outputs', ''))],
                    fused=_SOURCE.findall(fields.get('Metadata', '')),
                )
            )
            constants.update({name: (type, size) for name, type, size in _tensors(fields.get('Constants', ''))})
        weights: collections.Counter[str] = collections.Counter()
        for type, size in constants.values():
            weights[type] += size * _BYTES.get(type, 0)
        found.update(layers=layers, weights=dict(weights))
    return found


def read_inspector(text: str) -> dict:
    """Layers and weights from the JSON of TensorRT's engine inspector.

    Args:
        text: Result of ``get_engine_information`` at detailed verbosity.

    Returns:
        Arguments of :class:`EngineReport`.
    """
    layers: list[EngineLayer] = []
    weights: collections.Counter[str] = collections.Counter()
    for layer in json.loads(text).get('Layers', []):
        if isinstance(layer, str):  # names only, as the engine was built without details
            layers.append(EngineLayer(layer, 'unknown', [], [], []))
            continue
        types = {
            side: [
                data_type(tensor.get('Format/Datatype') or tensor.get('Datatype', '')) for tensor in layer.get(side, [])
            ]
            for side in ('Inputs', 'Outputs')
        }
        held = {key: layer[key] for key in ('Weights', 'Bias') if isinstance(layer.get(key), Mapping)}
        # with free shapes it may say "N/A due to dynamic shapes", but weights have the type that is computed in
        own = data_type(held.get('Weights', {}).get('Type', ''))
        types['Inputs'] = [own if name == 'unknown' else name for name in types['Inputs']]
        layers.append(
            EngineLayer(
                name=layer['Name'],
                kind=layer.get('LayerType', 'unknown'),
                inputs=types['Inputs'],
                outputs=types['Outputs'],
                fused=_SOURCE.findall(layer.get('Metadata', '')),
            )
        )
        for constant in held.values():
            if constant.get('Count'):
                type = data_type(constant.get('Type', ''))
                weights[type] += constant['Count'] * _BYTES.get(type, 0)
    return dict(layers=layers, weights=dict(weights))


def _megabytes(size: int | None) -> str:
    return 'not told' if size is None else f'{size / 1e6:.1f} MB'


def to_markdown(report: EngineReport) -> str:
    """The report as a section of a page: figures, data types, the largest fusions, kinds of layers."""
    targets = ', '.join(report.targets) or 'as TensorRT chooses'
    shapes = '; '.join(
        f'{name} ' + ' / '.join('x'.join(map(str, shape)) for shape in shapes)
        for name, shapes in report.profiles.items()
    )
    rows = [
        ('built by', f'{report.package} {report.version}'),
        ('for', targets),
        ('shapes (smallest / usual / largest)', shapes or 'fixed'),
        ('engine', _megabytes(report.engine_bytes)),
        ('weights', _megabytes(report.weights_bytes)),
        ('activations, at most', _megabytes(report.activation_bytes)),
        ('scratch, of these', _megabytes(report.scratch_bytes)),
        *((f'seconds to {stage}', f'{seconds:.2f}') for stage, seconds in report.seconds.items()),
    ]
    lines = [table(('', ''), rows, numbers=False), '']
    if not report.layers:
        return '\n'.join([*lines, 'TensorRT told nothing about the layers.', ''])
    fused = sum(len(layer.fused) for layer in report.layers)
    lines += [
        '### Data types',
        '',
        f'{len(report.layers)} layers; {fused} ONNX nodes are named in them. '
        f'{sum(layer.converts for layer in report.layers)} layers read one data type and write another.',
        '',
    ]
    by_layers, by_weights = report.share_of_layers(), report.share_of_weights()
    shares = [
        (name, f'{by_layers.get(name, 0):.1%}', f'{by_weights.get(name, 0):.1%}')
        for name in [*by_layers, *(name for name in by_weights if name not in by_layers)]
    ]
    lines += [table(('data type', 'of the layers', 'of the weights'), shares, numbers=False), '']
    largest = sorted((layer for layer in report.layers if layer.fused), key=lambda layer: -len(layer.fused))
    fusions = [
        (layer.name, layer.kind, layer.data_type, f'{len(layer.fused)}: {", ".join(layer.fused[:6])}')
        for layer in largest[:FUSIONS_SHOWN]
    ]
    header = ('layer', 'kind', 'data type', 'ONNX nodes')
    lines += ['### Largest fusions', '', table(header, fusions, numbers=False), '']
    kinds = collections.Counter((layer.kind, layer.data_type) for layer in report.layers)
    counts = [(*kind, count) for kind, count in kinds.most_common()]
    lines += ['### Kinds of layers', '', table(('kind', 'data type', 'layers'), counts, numbers=False), '']
    if report.warnings:
        lines += ['### Warnings', '', *(f'- {warning}' for warning in report.warnings), '']
    return '\n'.join(lines)
