"""Calibration on five networks of each target, and predictions of all others beside published and measured latency."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml

from mmtrtvit.benchmark.rows import read_rows, write_rows
from mmtrtvit.errors import DataError
from mmtrtvit.roofline.calibrate import Observation, calibrate
from mmtrtvit.roofline.devices import DEVICES, Device
from mmtrtvit.roofline.fusion import COMPILERS
from mmtrtvit.roofline.layers import Graph
from mmtrtvit.roofline.predict import Roofline

from .networks import export, graph_path, load_graph

FIVE = (
    ('resnet50', 224),
    ('mobilenetv2_100', 224),
    ('vit_small_patch16_224', 224),
    ('convnext_small', 224),
    ('swin_tiny_patch4_window7_224', 224),
)
"""The networks that CPUs are calibrated on; the rows of timm and T4 name theirs."""

TRTVIT = tuple(f'trtvit-{arch}' for arch in 'abcd')
OTHERS = ('paper:cswin_t', 'twins_pcpvt_base')


@dataclasses.dataclass(frozen=True)
class Case:
    """A network whose latency is known.

    Attributes:
        network, size, batch, precision: What ran.
        use: ``calibration``, ``same-network`` (another row of a network of the calibration) or how it validates.
        milliseconds: Its latency.
        source: Where the latency comes from.
    """

    network: str
    size: int
    batch: int
    precision: str
    use: str
    milliseconds: float
    source: str


@dataclasses.dataclass(frozen=True)
class Target:
    """A device and compiler with known latencies.

    Attributes:
        name: Its name in rows.
        device, compiler: Their names.
        processor: The device.
        cases: The networks.
    """

    name: str
    device: str
    compiler: str
    processor: Device
    cases: tuple[Case, ...]


def targets(results: Path) -> list[Target]:
    """All targets.

    Args:
        results: Folder of ``latency_published.yaml`` and ``roofline_cpu.json``.
    """
    told = yaml.safe_load((results / 'latency_published.yaml').read_text())
    cases = [
        Case(row['network'], row['size'], row['batch'], row['precision'], row['use'], row['ms'], row['source'])
        for row in told['t4']
    ]
    found = [Target('t4-tensorrt', 't4', 'tensorrt-8.0', DEVICES['t4'], tuple(cases))]
    for name in ('rtx4090-eager', 'rtx4090-inductor', 'rtx5090-inductor'):
        device, compiler = name.split('-')
        cases = [Case(row['network'], row['size'], *_amp(row, name)) for row in told['timm'] if name in row]
        found.append(Target(name, device, compiler, DEVICES[device], tuple(cases)))
    measured = read_rows(results / 'roofline_cpu.json')
    if measured is not None:
        cpu = dict(measured['cpu'][0])
        processor = Device(**{**cpu, 'tiles': tuple(map(tuple, cpu['tiles']))})
        for runtime in ('openvino', 'onnxruntime'):
            cases = [
                Case(row['network'], row['size'], row['batch'], row['precision'], _use(row), row['median'], 'measured')
                for row in measured['rows']
                if row['runtime'] == runtime
            ]
            found.append(Target(f'cpu-{runtime}', 'cpu', runtime, processor, tuple(cases)))
    return found


def _amp(row: Mapping, target: str) -> tuple[int, str, str, float, str]:
    batch, milliseconds = row[target]
    return batch, 'amp', row['use'], milliseconds, 'timm'


def _use(row: Mapping) -> str:
    if (row['network'], row['size']) in FIVE:
        return 'calibration'
    return 'same-network' if row['network'] in dict(FIVE) else 'validation'


def export_graphs(folder: str | os.PathLike, results: Path) -> None:
    """Export the graphs of all networks of the validation without weights, those that are not there yet."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    wanted = {(case.network, case.size) for target in targets(results) for case in target.cases}
    wanted |= {(name, 224) for name in (*TRTVIT, *OTHERS)}
    failed = []
    for name, size in sorted(wanted):
        if not graph_path(folder, name, size).is_file():
            try:
                export(name, size, graph_path(folder, name, size), weights=False)
            except Exception as error:  # of any network of timm: the others go on, and its rows are reported as missing
                failed.append(name)
                print(f'{name}: {type(error).__name__}: {str(error).splitlines()[0][:160]}', flush=True)
    if failed:
        print(f'No graph of {len(failed)} networks: {", ".join(failed)}')


def predict_networks(folder: str | os.PathLike, results: Path) -> None:
    """Calibrate and predict every target; write ``roofline.json``.

    Args:
        folder: The graphs.
        results: Folder of published and measured latency, and of the result.
    """

    @functools.cache
    def graph(name: str, size: int) -> Graph | None:
        try:
            found = load_graph(folder, name, size)
        except DataError:
            return None
        return None if found.unknown else found

    summaries, rows, paper = [], [], []
    for target in targets(results):
        cases = [case for case in target.cases if graph(case.network, case.size)]
        five = [case for case in cases if case.use == 'calibration']
        efficiency = calibrate(
            target.processor,
            COMPILERS[target.compiler],
            five[0].precision,
            [Observation(graph(case.network, case.size), case.batch, case.milliseconds) for case in five],
        )
        print(f'    {(target.device, target.compiler)}: {efficiency},')

        def predict(case: Case, target=target, efficiency=efficiency):
            roofline = Roofline(target.processor, COMPILERS[target.compiler], case.precision, efficiency)
            return roofline.predict(graph(case.network, case.size), case.batch)

        new = []
        for case in cases:
            prediction = predict(case)
            new.append(
                dict(
                    target=target.name,
                    kind='predicted',
                    **{key: value for key, value in dataclasses.asdict(case).items() if key != 'milliseconds'},
                    known_ms=case.milliseconds,
                    predicted_ms=round(prediction.total, 4),
                    shares={name: round(share, 3) for name, share in prediction.shares.items()},
                )
            )
        rows += new
        summaries += [
            dict(
                target=target.name,
                device=target.processor.title,
                compiler=COMPILERS[target.compiler].title,
                calibration=[target.device, target.compiler],
                calibrated_on=[case.network for case in five],
                efficiency=dataclasses.asdict(efficiency),
                missing=len(target.cases) - len(cases),
                uses=dict(_summaries(new)),
            )
        ]
        if target.device == 't4':
            for name in (*TRTVIT, *OTHERS):
                prediction = predict(Case(name, 224, 8, 'fp16', '', 0, ''))
                paper.append(
                    dict(target=target.name, kind='predicted', network=name, predicted_ms=round(prediction.total, 3))
                )
    write_rows({'summaries': summaries, 'rows': rows, 'paper': paper}, results / 'roofline.json')
    for summary in summaries:
        print(summary['target'], summary['uses'])


def _summaries(rows: list[dict]) -> Iterator[tuple[str, dict]]:
    """Errors of the rows that were not calibrated on, by their use, by their precision, and of all of them."""
    kept = [row for row in rows if row['use'] not in ('calibration', 'same-network')]
    for key in ('use', 'precision'):
        values = list(dict.fromkeys(row[key] for row in kept))
        for value in values if len(values) > 1 else ():
            yield value, _errors([row for row in kept if row[key] == value])
    yield 'all', _errors(kept)


def _errors(rows: list[dict]) -> dict[str, float]:
    return errors(*([row[name] for row in rows] for name in ('predicted_ms', 'known_ms', 'batch')))


def errors(predicted: list[float], known: list[float], batches: list[int]) -> dict[str, float]:
    """Spearman's correlation of the latencies of an image, and quantiles of the relative error.

    Args:
        predicted: Milliseconds of a batch.
        known: The same as published or measured.
        batches: Images in each batch.
    """
    error = np.abs(np.array(predicted) / np.array(known) - 1)
    one, two = (_ranks(np.array(times) / np.array(batches)) for times in (predicted, known))
    return dict(
        networks=len(known),
        spearman=round(float(np.corrcoef(one, two)[0, 1]), 4),
        median_error=round(float(np.median(error)), 4),
        p90_error=round(float(np.quantile(error, 0.9)), 4),
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value; equal ones share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]
