"""Backbones measured side by side: PyTorch's deploy form, ONNX Runtime and OpenVINO."""

import contextlib
import importlib
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import torch.nn as nn
from rich.console import Console
from tqdm import tqdm

from ..atomic import atomic_file
from ..errors import ConfigError, DeployError
from ..latency import measure
from ..machine import machine
from ..runtime.backends import open_session
from ..zoo.complexity import backbone_complexity
from ..zoo.families import FAMILIES
from .rows import Results, check_settings

OPSET = 17
"""The first opset with ``LayerNormalization`` as one node."""

SCOPE = 'backbone'

BACKENDS = {'ONNX Runtime': 'onnxruntime', 'OpenVINO': 'openvino'}
"""Runtimes beside PyTorch: title to the name of the backend, which is that of its module too."""

RUNTIMES = ('PyTorch', 'ONNX Runtime')
"""The runtimes that TRT-ViT is timed in, in the order of tables and bars."""

COMPARED = ('ONNX Runtime', 'OpenVINO')
"""The runtimes that all families are timed in."""

_MODULES = ('torch', 'onnx', 'mmtrtvit')
"""Modules whose versions stand in every row."""


def versions(runtimes: Sequence[str]) -> dict[str, str]:
    """Versions of the modules that these runtimes use."""
    modules = (*_MODULES, *(BACKENDS[name] for name in runtimes if name in BACKENDS))
    return {name: importlib.import_module(name).__version__.split('-')[0] for name in modules}


def export_backbone(backbone: nn.Module, image: torch.Tensor, path: str | os.PathLike) -> Counter[str]:
    """Export a backbone in its deploy form to ONNX, by itself and for one input shape.

    Args:
        backbone: The backbone, in its deploy form.
        image: ``(B, 3, H, W)``, the input to trace with.
        path: The file to write.

    Returns:
        How often each operator occurs.

    Raises:
        DeployError: If a LayerNorm did not become one node or a BatchNorm was left.
    """
    import onnx

    with atomic_file(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer and the exporter; the nodes are checked below
        torch.onnx.export(
            backbone,
            (image,),
            str(temporary),
            opset_version=OPSET,
            input_names=['image'],
            output_names=[f'stride{stride}' for stride in backbone.strides],
            dynamo=False,
        )
        operators = Counter(node.op_type for node in onnx.load(temporary).graph.node)
        norms = sum(isinstance(module, nn.LayerNorm) for module in backbone.modules())
        if operators['LayerNormalization'] != norms or operators['BatchNormalization']:
            raise DeployError(
                f'The exported graph has {operators["LayerNormalization"]} LayerNormalization and '
                f'{operators["BatchNormalization"]} BatchNormalization nodes.',
                expected=f'{norms} and none',
                fix='call switch_to_deploy() before the export; install the torch of requirements/torch.txt',
            )
    return operators


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[int]:
    """Change PyTorch's number of threads inside a ``with`` block."""
    before = torch.get_num_threads()
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _difference(ours: Sequence[torch.Tensor], theirs: Sequence) -> dict[str, float]:
    """Largest and mean absolute difference of all maps, and the largest one over the largest value."""
    flat = torch.cat([output.flatten() for output in ours])
    gap = (flat - torch.cat([torch.from_numpy(output).flatten() for output in theirs])).abs()
    return dict(max=gap.max().item(), mean=gap.mean().item(), relative=(gap.max() / flat.abs().max()).item())


def _counting(work: Callable[[], object], bar: tqdm) -> Callable[[], object]:
    def run() -> None:
        work()
        bar.update()

    return run


def _known_networks(families: Sequence[str], archs: Sequence[str] | None) -> list[tuple[str, str]]:
    """Family and arch of each network to measure.

    Raises:
        ConfigError: If a family is unknown, or no family that is named has an arch.
    """
    for family in families:
        if family not in FAMILIES:
            raise ConfigError(
                f'--families {family} is unknown.', expected=f'some of {", ".join(FAMILIES)}', fix='correct --families'
            )
    sizes = {arch for family in families for arch in FAMILIES[family].archs}
    for arch in archs or ():
        if arch not in sizes:
            raise ConfigError(
                f'--archs {arch}: none of the families has this size.',
                expected=f'some of {", ".join(sorted(sizes))}',
                fix='correct --archs',
            )
    found = [(family, arch) for family in families for arch in FAMILIES[family].archs if arch in (archs or sizes)]
    return list(dict.fromkeys(found))


def measure_backbones(
    networks: Sequence[tuple[str, str]],
    runtimes: Sequence[str],
    size: int = 224,
    batch: int = 1,
    threads: int | None = None,
    **limits: float,
) -> dict:
    """Count backbones, compare each runtime with PyTorch, and time all of them in one interleaved run.

    In float32 on the CPU, with random weights: latency does not depend on their values.

    Args:
        networks: Family and arch of each.
        runtimes: Runtimes to time: ``'PyTorch'``, or names in :data:`BACKENDS`.
        size: Height and width of the input.
        batch: Images in the input.
        threads: Threads of every runtime; PyTorch's own choice by default.
        limits: Arguments of :func:`~mmtrtvit.benchmark.measure`, such as ``min_runs``.

    Returns:
        ``complexity``, ``difference`` and ``latency`` rows.

    Raises:
        DeployError: If an export is not as it should be, or a runtime is missing.
    """
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder, _threads(threads) as used, torch.inference_mode():
        torch.manual_seed(0)
        image = torch.rand(batch, 3, size, size)
        inputs = {'image': image.numpy()}
        shape = 'x'.join(map(str, image.shape))
        facts = dict(
            shape=shape, batch=batch, precision='fp32', device='cpu', load_average=round(os.getloadavg()[0], 1)
        )
        facts.update(machine=machine(), versions=versions(runtimes))
        complexity, difference, subjects, names = [], [], {}, {}
        for number, (family, arch) in enumerate(networks, start=1):
            console.print(f'[{number}/{len(networks)}] {FAMILIES[family].name(arch)}: count, export, compare ...')
            network = dict(family=family, arch=arch)
            complexity.append(dict(network, **backbone_complexity(arch, size, batch, family).to_dict()))
            # As constructed, not as initialised for training: there every residual branch would end in zeros.
            backbone = FAMILIES[family].type(arch=arch).eval()
            backbone.switch_to_deploy()
            path = Path(folder) / f'{family}-{arch}.onnx'
            export_backbone(backbone, image, path)
            expected = backbone(image)
            for runtime in runtimes:
                name = f'{family}-{arch} {runtime}'
                names[name] = dict(network, runtime=runtime)
                if runtime not in BACKENDS:
                    subjects[name] = lambda backbone=backbone: backbone(image)
                    continue
                session = open_session(BACKENDS[runtime], path, threads=used)
                subjects[name] = lambda session=session: session.run(inputs)
                gap = _difference(expected, tuple(subjects[name]().values()))
                difference.append(dict(names[name], kind='measured', **gap, **facts))
                console.print(f'      {runtime}: largest difference over the largest value: {gap["relative"]:.1e}')
            path.unlink()
        console.print(f'Measuring {len(subjects)} subjects in turn on {shape}, {used} threads')
        with tqdm(unit='run', mininterval=2, disable=None) as bar:
            timed = {name: _counting(work, bar) for name, work in subjects.items()}
            rows = measure(timed, scope=SCOPE, settings=facts, **limits)
    return dict(
        complexity=complexity, difference=difference, latency=[dict(r.to_dict(), **names[r.name]) for r in rows]
    )


def _lines(result: dict) -> list[str]:
    """A line for each timed row."""
    lines = []
    for row in result['latency']:
        spread = '' if row['steady'] else f', unsteady (spread {row["spread"]:.0%})'
        lines.append(f'{row["name"]}: {row["median"]:.1f} ms, 90th percentile {row["p90"]:.1f} ms{spread}')
    return lines


def benchmark_backbones(
    archs: Sequence[str] | None = None, out: str | os.PathLike = 'work_dirs/bench', **settings: float | None
) -> dict:
    """Count TRT-ViT backbones, and time them in PyTorch and in ONNX Runtime.

    Args:
        archs: Sizes of TRT-ViT; by default all.
        out: Folder for ``backbones.json``.
        settings: Arguments of :func:`measure_backbones`, such as ``size`` and ``threads``.

    Returns:
        The content of ``backbones.json``: ``complexity``, ``latency`` and ``difference`` rows.

    Raises:
        ConfigError: If a size is unknown or a number is not positive.
        DeployError: If an export is not as it should be, or ONNX Runtime is missing.
    """
    return _benchmark(['trtvit'], archs, RUNTIMES, out, 'backbones', settings)


def benchmark_comparison(
    families: Sequence[str] | None = None,
    archs: Sequence[str] | None = None,
    out: str | os.PathLike = 'work_dirs/comparison',
    **settings: float | None,
) -> dict:
    """Count the backbones of all families, and time them in ONNX Runtime and OpenVINO.

    Args:
        families: Names in :data:`~mmtrtvit.zoo.families.FAMILIES`; by default all.
        archs: Their sizes; by default all.
        out: Folder for ``comparison.json``.
        settings: Arguments of :func:`measure_backbones`, such as ``size`` and ``threads``.

    Returns:
        The content of ``comparison.json``: ``complexity``, ``latency`` and ``difference`` rows.

    Raises:
        ConfigError: If a family or a size is unknown or a number is not positive.
        DeployError: If an export is not as it should be, or a runtime is missing.
    """
    return _benchmark(families or list(FAMILIES), archs, COMPARED, out, 'comparison', settings)


def _benchmark(families, archs, runtimes, out, name, settings) -> dict:
    """Check the arguments, measure, write the rows and show them."""
    check_settings(**settings)
    networks, results = _known_networks(families, archs), Results(out, name)
    result = measure_backbones(networks, runtimes, **settings)
    results.write(result)
    results.show(_lines(result))
    return result
