"""Backbones measured side by side: PyTorch's deploy form and ONNX Runtime."""

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
from ..models import TRTViT
from .complexity import backbone_complexity
from .latency import machine, measure
from .plots import draw_complexity, draw_latency
from .rows import RUNTIMES, write_rows
from .tables import complexity_table, latency_table

OPSET = 17
"""The first opset with ``LayerNormalization`` as one node."""

SCOPE = 'backbone'
ROWS = 'backbones.json'

_MODULES = ('torch', 'onnx', 'onnxruntime', 'mmtrtvit')
"""What had a part in these figures."""


def versions() -> dict[str, str]:
    """Versions of the modules that had a part in a row."""
    return {name: importlib.import_module(name).__version__ for name in _MODULES}


def check_settings(**settings: int | None) -> None:
    """Make sure that sizes, batches and numbers of threads are positive.

    Raises:
        ConfigError: Naming the option that is not.
    """
    for name, value in settings.items():
        if value is not None and value < 1:
            raise ConfigError(
                f'--{name} {value} has no meaning.', expected='a whole number from 1 on', fix=f'correct --{name}'
            )


def export_backbone(backbone: nn.Module, image: torch.Tensor, path: str | os.PathLike) -> Counter[str]:
    """Export a backbone in its deploy form to ONNX, by itself and for one input shape.

    Args:
        backbone: In the deploy form.
        image: ``(B, 3, H, W)``, the input to trace with.
        path: The file to write.

    Returns:
        How often each operator occurs.

    Raises:
        DeployError: If a LayerNorm did not become one node or a BatchNorm was left.
    """
    import onnx

    with atomic_file(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer and the TorchScript exporter, which say nothing of the result
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


def open_session(path: str | os.PathLike, threads: int):
    """Load an ONNX file into ONNX Runtime on the CPU, with as many threads as PyTorch has.

    Raises:
        DeployError: If ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DeployError(
            'ONNX Runtime is not installed.', fix='pip install -r requirements/deploy.txt (or: make setup)'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[int]:
    """PyTorch's number of threads, changed for a while."""
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


def benchmark_backbones(
    archs: Sequence[str] = ('a', 'b', 'c', 'd'),
    size: int = 224,
    batch: int = 1,
    out: str | os.PathLike = 'work_dirs/bench',
    threads: int | None = None,
    **limits: float,
) -> dict:
    """Count TRT-ViT backbones, time them in PyTorch and in ONNX Runtime, and write rows, table and plots.

    All are timed in one interleaved run, in float32 on the CPU, with random weights: latency does not depend on
    their values.

    Args:
        archs: Sizes of TRT-ViT.
        size: Height and width of the input.
        batch: Images in the input.
        out: Folder for ``backbones.json``, ``backbones.md``, ``latency.png`` and ``complexity.png``.
        threads: Threads of both runtimes; by default as many as PyTorch takes.
        limits: Arguments of :func:`~mmtrtvit.benchmark.measure`, such as ``min_runs``.

    Returns:
        What ``backbones.json`` holds: ``complexity``, ``latency`` and ``difference`` rows.

    Raises:
        ConfigError: If an argument has no meaning.
        DeployError: If an export is not as it should be, or ONNX Runtime is missing.
    """
    check_settings(size=size, batch=batch, threads=threads)
    archs = list(dict.fromkeys(archs))
    console = Console(highlight=False)
    out = Path(out)
    with tempfile.TemporaryDirectory() as folder, _threads(threads) as used, torch.inference_mode():
        torch.manual_seed(0)
        image = torch.rand(batch, 3, size, size)
        shape = 'x'.join(map(str, image.shape))
        facts = dict(
            shape=shape, batch=batch, precision='fp32', device='cpu', load_average=round(os.getloadavg()[0], 1)
        )
        facts.update(machine=machine(), versions=versions())
        complexity, difference, subjects, names = [], [], {}, {}
        for number, arch in enumerate(archs, start=1):
            console.print(f'[{number}/{len(archs)}] TRT-ViT-{arch.upper()}: count, export, compare ...')
            complexity.append(dict(arch=arch, **backbone_complexity(arch, size, batch).to_dict()))
            # As constructed, not as initialised for training: there every residual branch would end in zeros.
            backbone = TRTViT(arch=arch).eval()
            backbone.switch_to_deploy()
            path = Path(folder) / f'{arch}.onnx'
            export_backbone(backbone, image, path)
            session = open_session(path, used)
            path.unlink()
            inputs = {'image': image.numpy()}
            work = (
                lambda backbone=backbone: backbone(image),
                lambda session=session, inputs=inputs: session.run(None, inputs),
            )
            difference.append(dict(arch=arch, kind='measured', **_difference(work[0](), work[1]()), **facts))
            console.print(f'      largest difference over the largest value: {difference[-1]["relative"]:.1e}')
            for runtime, run in zip(RUNTIMES, work, strict=True):
                subjects[f'{arch} {runtime}'] = run
                names[f'{arch} {runtime}'] = dict(arch=arch, runtime=runtime)
        console.print(f'Measuring {len(subjects)} subjects in turn on {shape}, {used} threads')
        with tqdm(unit='run', mininterval=2) as bar:
            timed = {name: _counting(work, bar) for name, work in subjects.items()}
            rows = measure(timed, scope=SCOPE, settings=facts, **limits)
    result = dict(
        complexity=complexity, difference=difference, latency=[dict(r.to_dict(), **names[r.name]) for r in rows]
    )
    write_rows(result, out / ROWS)
    table = '\n'.join(['## Latency', '', latency_table(result), '', '## Complexity', '', complexity_table(result), ''])
    with atomic_file(out / 'backbones.md') as temporary:
        temporary.write_text(table)
    draw_latency(result, out / 'latency.png')
    draw_complexity(result, out / 'complexity.png')
    console.print(table, markup=False, soft_wrap=True)
    console.print(f'Rows, table and plots: {out}')
    return result
