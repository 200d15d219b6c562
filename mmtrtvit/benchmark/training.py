"""Time and memory of one training iteration, each network and setting in a process of its own."""

import contextlib
import copy
import importlib
import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from ..config import find_config, load_config
from ..engine.cpu_amp import amp_is_quicker, bfloat16_slowdown, use_amp
from ..errors import ConfigError, DeployError
from ..latency import measure
from ..machine import machine
from ..testing.random_inputs import random_batch
from ..zoo.configs import select_configs
from ..zoo.methods import METHODS
from .memory import forget_peak, memory
from .rows import Results, check_settings

SCOPE = 'training iteration'

VARIANTS: dict[str, dict[str, bool]] = {
    'plain': dict(checkpointing=False, amp=False),
    'checkpointing': dict(checkpointing=True, amp=False),
    'AMP': dict(checkpointing=False, amp=True),
    'AMP, checkpointing': dict(checkpointing=True, amp=True),
    'channels last': dict(checkpointing=False, amp=False, channels_last=True),
}
"""Settings that are compared: gradient checkpointing of the backbone, mixed precision (bfloat16 on a CPU, float16 on a
GPU), maps with channels last."""

USUAL = ('plain', 'checkpointing', 'AMP', 'AMP, checkpointing')
"""Those that are measured unless others are named."""

_MODULES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmtrtvit')


def build_training(
    config: Config,
    size: int,
    checkpointing: bool,
    amp: bool,
    device: torch.device,
    channels_last: bool = False,
) -> tuple[BaseModel, OptimWrapper]:
    """The network of a config in training mode, without pretrained weights, and its optimiser wrapper.

    Args:
        config: The config; it stays as it is.
        size: Height and width of the images, and of the crops that segmentors pad to.
        checkpointing: Compute activations of the backbone again in the backward pass.
        amp: Mixed precision, as ``tools/train.py --amp``.
        device: Device of the network.
        channels_last: Keep maps and kernels with the channels last in memory.
    """
    config = copy.deepcopy(config)
    config.model.backbone.update(with_cp=checkpointing, init_cfg=None)
    if 'size' in config.model.data_preprocessor:
        config.model.data_preprocessor.size = (size, size)
    if amp:
        use_amp(config)
    init_default_scope(config.default_scope)
    network = MODELS.build(dict(config.model, _scope_=config.default_scope)).to(device).train()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network, build_optim_wrapper(network, config.optim_wrapper)


def _serve(
    connection: Connection, path: str, variant: dict, batch: int, size: int, threads: int | None, seed: int = 0
) -> None:
    """The process of one row: build, then one iteration for each ``'step'``, then report the memory."""
    logging.disable(logging.INFO)  # mmengine names every parameter of the optimiser
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(seed)
        config = load_config(path)
        device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        data = random_batch(config, batch, size, size, seed)
        network, wrapper = build_training(config, size, **variant, device=device)
        forget_peak(device.type)
        built, _ = memory(device.type)
        connection.send(dict(threads=torch.get_num_threads(), device=device.type))
        macs = None
        while connection.recv() == 'step':
            counter = FlopCounterMode(display=False) if macs is None else contextlib.nullcontext()
            with counter:
                # fresh samples: networks write into them
                losses = network.train_step(copy.deepcopy(data), wrapper)
            macs = counter.get_total_flops() // 2 if isinstance(counter, FlopCounterMode) else macs
            if device.type == 'cuda':
                torch.cuda.synchronize()
            connection.send({name: value.item() for name, value in losses.items()})
        connection.send(dict(built=built, peak=memory(device.type)[1], macs=macs))
    except EOFError:
        pass  # the other side has gone
    except Exception as error:
        connection.send(error)


class _Trainer:
    """Handle of the process that measures one row."""

    def __init__(self, *settings) -> None:
        # a fresh interpreter, not a fork: its memory is its own
        context = multiprocessing.get_context('spawn')
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, *settings), daemon=True)
        self.process.start()
        other.close()
        self.facts = None

    def _receive(self):
        try:
            answer = self.connection.recv()
        except EOFError as error:
            raise DeployError(
                'A training process ended without an answer.',
                expected='enough memory for four networks at a time',
                fix='choose a smaller --size or --batch, or fewer --archs',
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ready(self) -> None:
        """Wait until the network is built."""
        self.facts = self._receive()

    def step(self) -> dict[str, float]:
        """Run one iteration; its losses."""
        self.connection.send('step')
        return self._receive()

    def memory(self) -> dict[str, int]:
        """End the process and return its memory in bytes: after the network was ``built``, and the ``peak`` since.

        ``macs`` are the multiply-accumulates of an iteration: of forward and backward pass, without the optimiser.
        """
        self.connection.send('end')
        return self._receive()

    def close(self) -> None:
        """End the process, whatever its state."""
        self.connection.close()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.kill()


@contextlib.contextmanager
def _trainers(subjects: Mapping[str, tuple[Path, dict]], *settings) -> Iterator[dict[str, _Trainer]]:
    trainers: dict[str, _Trainer] = {}
    try:
        # built one after the other, so that they do not slow each other down
        for name, (path, variant) in subjects.items():
            trainers[name] = _Trainer(str(path), variant, *settings)
            trainers[name].ready()
        yield trainers
    finally:
        for trainer in trainers.values():
            trainer.close()


def benchmark_training(
    root: str | os.PathLike,
    family: str = 'trtvit',
    methods: Sequence[str] = tuple(METHODS),
    archs: Sequence[str] | None = None,
    size: int = 320,
    batch: int = 2,
    iterations: int = 3,
    out: str | os.PathLike = 'work_dirs/bench',
    threads: int | None = None,
    variants: Sequence[str] = USUAL,
    beside: Sequence[str] = (),
) -> dict:
    """Measure time and memory of one training iteration of each method and size, in several of :data:`VARIANTS`.

    An iteration is that of mmengine's runner on a loaded batch: preprocessing, forward pass, losses,
    backward pass, step of the optimiser of the config. Images and truth are random, weights are as constructed.
    The variants of a network run in turn, each in a process of its own.

    Memory is the peak of the process less the memory that it held when the network was built. So gradients, optimiser
    state and activations are in it, the weights and the libraries are not. On a CPU it is resident memory of the
    process; on a GPU, memory that PyTorch allocated.

    Args:
        root: The folder with ``configs/``.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        methods: Names in :data:`~mmtrtvit.zoo.methods.METHODS`.
        archs: Sizes; by default all.
        size: Height and width of the images.
        batch: Images in an iteration.
        iterations: Timed iterations of each variant, after one untimed iteration.
        out: Folder for ``training.json``.
        threads: Threads of PyTorch; its own choice by default.
        variants: Names in :data:`VARIANTS`.
        beside: Other configs, such as mmdet's, that are measured plain and in turn with each network.

    Returns:
        The content of ``training.json``: ``training`` rows.

    Raises:
        ConfigError: If a name is unknown or a number is not positive.
        DeployError: If memory cannot be measured, or a process ends early.
    """
    check_settings(size=size, batch=batch, iterations=iterations, threads=threads)
    for name in variants:
        if name not in VARIANTS:
            raise ConfigError(
                f'--variants {name!r} is unknown.', expected=f'some of {", ".join(VARIANTS)}', fix='correct --variants'
            )
    entries = select_configs(Path(root), family, methods, archs)
    others = {path.stem: (path, VARIANTS['plain']) for path in map(find_config, beside) if load_config(path)}
    console, results = Console(highlight=False), Results(out, 'training')
    chosen = {name: VARIANTS[name] for name in variants}
    if any(variant['amp'] for variant in chosen.values()) and not amp_is_quicker():
        chosen = {name: variant for name, variant in chosen.items() if not variant['amp']}
        console.print(f'Without AMP: on this CPU bfloat16 is {bfloat16_slowdown():.1f} times slower than float32.')
    rows: list[dict] = []
    for number, entry in enumerate(entries, start=1):
        console.print(f'[{number}/{len(entries)}] {entry.about.title} on {entry.title}', markup=False)
        load = round(os.getloadavg()[0], 1)
        subjects = {name: (entry.path, variant) for name, variant in chosen.items()} | others
        with _trainers(subjects, batch, size, threads) as trainers:
            facts = next(iter(trainers.values())).facts
            settings = dict(
                config=f'configs/{entry.path.name}',
                method=entry.method,
                family=entry.family,
                arch=entry.arch,
                shape=f'{batch}x3x{size}x{size}',
                batch=batch,
                device=facts['device'],
                load_average=load,
                machine=dict(machine(), torch_threads=facts['threads']),
                versions={name: importlib.import_module(name).__version__ for name in _MODULES},
            )
            timed = measure(
                {name: trainer.step for name, trainer in trainers.items()},
                scope=SCOPE,
                settings=settings,
                warmup_runs=1,
                warmup_seconds=0,
                min_runs=iterations,
                min_seconds=0,
                max_seconds=float('inf'),
                until_steady=False,
            )
            for row in timed:
                found = trainers[row.name].memory()
                macs = found.pop('macs')
                rows.append(dict(row.to_dict(), **subjects[row.name][1], memory=found, macs=macs))
        result = dict(training=rows)
        results.write(result)  # after each network: an hour of work is not lost to the last one
    results.show(
        f'{Path(row["config"]).stem}, {row["name"]}: {row["median"] / 1e3:.2f} s, '
        f'{(row["memory"]["peak"] - row["memory"]["built"]) / 2**30:.2f} GiB'
        for row in rows
    )
    return result
