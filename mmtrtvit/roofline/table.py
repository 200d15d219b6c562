"""The prediction of a network as a table and as rows."""

import os
from collections.abc import Iterator

from ..benchmark.rows import check_settings, write_rows
from ..deploy.export.input_shapes import parse_size
from ..errors import ConfigError, DeployError
from .efficiencies import compilers_of, device, efficiency_of
from .fusion import COMPILERS
from .graphs import graph_of
from .layers import Graph
from .predict import Prediction, Roofline, Row


def predict_latency(
    source: str,
    device_name: str,
    compiler: str | None = None,
    precision: str = 'fp16',
    batch: int = 1,
    shape: str | None = None,
    top: int = 15,
    out: str | os.PathLike | None = None,
) -> Prediction:
    """Predict the latency of a network on a device, and print it.

    Args:
        source: An ONNX file, a folder of ``tools/deploy.py``, a config, or a backbone such as ``trtvit-c``.
        device_name: A key of :data:`~mmtrtvit.roofline.devices.DEVICES`, or ``cpu``: this machine.
        compiler: A key of :data:`~mmtrtvit.roofline.fusion.COMPILERS`; by default the usual one of the device.
        precision: A key of :data:`~mmtrtvit.roofline.devices.WIDTH`.
        batch: Images in the input.
        shape: Height and width of the input, such as ``'512x2048'``.
        top: Number of groups that are printed, those that take the most time; 0 for all, in the order of the network.
        out: A JSON file for all of them.

    Raises:
        ConfigError: If an argument cannot be used.
        DeployError: If the source cannot be read.
    """
    check_settings(batch=batch)
    if top < 0:
        raise ConfigError(f'--top {top} is negative.', expected='a number of groups; 0 for all', fix='correct --top')
    compiler = compiler or compilers_of(device_name)[0]
    target = device(device_name)
    efficiency, origin = efficiency_of(device_name, compiler)
    roofline = Roofline(target, COMPILERS[compiler], precision, efficiency)
    graph = graph_of(source, None if shape is None else parse_size(shape))
    prediction = roofline.predict(graph, batch)
    if not prediction.rows:
        raise DeployError(
            f'No layer of {graph.name} can be predicted: {", ".join(graph.unknown) or "nothing in it moves data"}.',
            expected='convolutions, products, norms and the like',
            fix='give the graph of a network',
        )
    size = 'x'.join(map(str, (batch, *graph.shape[1:])))
    print(f'Predicted, not measured: {graph.name}, {size}, {precision}, {COMPILERS[compiler].title} on {target.title}')
    print('\n'.join(lines(graph, prediction, top)))
    print(f'Efficiencies: {origin}.')
    if out is not None:
        settings = dict(kind='predicted', network=graph.name, device=device_name, compiler=compiler)
        settings.update(precision=precision, shape=size)
        write_rows(
            {
                'network': [
                    dict(settings, ms=prediction.total, shares=prediction.shares, left_out=dict(graph.unknown))
                ],
                'rows': [to_dict(row) for row in prediction.rows],
            },
            out,
        )
        print(f'Rows: {out}')
    return prediction


def to_dict(row: Row) -> dict:
    """A row as plain data; times in milliseconds."""
    return dict(
        kind='predicted',
        name=row.name,
        operators=row.operators,
        macs=row.macs,
        bytes=row.bytes,
        compute=row.compute,
        memory=row.memory,
        overhead=row.overhead,
        total=row.total,
        bound=row.bound,
    )


def lines(graph: Graph, prediction: Prediction, top: int = 0) -> Iterator[str]:
    """The prediction of each group of layers and of the network.

    Args:
        graph: The layers.
        prediction: Their prediction.
        top: Number of groups, those that take the most time; 0 for all, in order.
    """
    rows = prediction.rows
    if top:
        rows = tuple(sorted(rows, key=lambda row: -row.total)[:top])
    yield f'{"predicted ms":>12}  {"share":>6}  {"MMACs":>9}  {"MB":>8}  {"bound by":<8}  layers'
    for row in rows:
        yield (
            f'{row.total:12.4f}  {row.total / prediction.total:6.1%}  {row.macs / 1e6:9.1f}  {row.bytes / 1e6:8.2f}  '
            f'{row.bound:<8}  {row.name} ({_short(row.operators)})'
        )
    if len(rows) < len(prediction.rows):
        yield f'... and {len(prediction.rows) - len(rows)} more groups of layers'
    total = prediction.total
    yield (
        f'Predicted total: {total:.3f} ms for {prediction.batch} image{"s" * (prediction.batch > 1)} '
        f'({prediction.batch / total * 1e3:.0f} images a second), {prediction.macs / 1e9:.2f} GMACs'
    )
    yield 'Time bound by ' + ', '.join(f'{name} {share:.0%}' for name, share in prediction.shares.items())
    if graph.unknown:
        yield 'Left out of the total: ' + ', '.join(f'{times} {name}' for name, times in graph.unknown.items())


def _short(operators: str) -> str:
    return operators if len(operators) <= 48 else operators[:45] + '...'
