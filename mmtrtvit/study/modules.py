"""Latency, multiply-accumulates and traffic of every block of a detector or segmentor, in PyTorch."""

import contextlib
import copy
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ..benchmark.candidates import PYTORCH, Candidate, Loaded, Workshop
from ..benchmark.speed import image_or_noise, make_sweep
from ..config import load_config
from ..deploy.proof.reference import Reference, build_pytorch_model
from ..deploy.steps import quiet
from ..errors import ConfigError, DeployError
from ..markdown import table
from ..runtime.preprocess import read_image
from ..testing.untrained import spread_outputs
from ..zoo.complexity import count_operators
from ..zoo.methods import method_of

WORTH = 0.01
"""Share of the latency below which a block is not called inefficient: it does not matter."""

NAMED = 3
"""Blocks that are named as the slowest and the least efficient."""

OUTSIDE = 'outside of the blocks'
"""Part of the latency that no block takes: normalisation, suppression of boxes, pasting of masks, resizing."""

_LISTS = (nn.ModuleList, nn.Sequential)


def blocks_of(network: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a network: the elements of its lists (``nn.ModuleList``, ``nn.Sequential``).

    Lists in lists are taken apart too. An element is taken apart only if it is a list or has a ``nn.ModuleList`` of its
    own. A part outside of all lists is one block if there is no list in it.

    Args:
        network: The network.

    Returns:
        Name to module; none is inside of another, and none is there twice.
    """

    def find(name: str, module: nn.Module, listed: bool) -> Iterator[tuple[str, nn.Module]]:
        if listed:
            apart = isinstance(module, _LISTS) or any(isinstance(child, nn.ModuleList) for child in module.children())
        else:
            apart = not name or any(isinstance(part, _LISTS) for part in module.modules())
        if apart and list(module.children()):
            for child, inner in module.named_children():
                yield from find(f'{name}.{child}'.lstrip('.'), inner, listed or isinstance(module, _LISTS))
        else:
            yield name, module

    found: dict[nn.Module, str] = {}
    for name, module in find('', network, False):
        if name != 'data_preprocessor':
            found.setdefault(module, name)
    return {name: module for module, name in found.items()}


def _tensors(values: object) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Watch:
    """Watches the blocks of a network: time and traffic of each.

    Args:
        blocks: Name to module.
        device: ``'cpu'`` or ``'cuda'``. On a GPU every block is waited for.

    Attributes:
        seconds: Time of each block since :meth:`reset`.
        traffic: Bytes that it reads and writes since then: inputs, outputs and weights, each once a call.
    """

    def __init__(self, blocks: Mapping[str, nn.Module], device: str) -> None:
        self.reset()
        self._begun: dict[str, float] = {}
        self._wait: Callable[[], object] = torch.cuda.synchronize if device == 'cuda' else lambda: None
        for name, module in blocks.items():
            weights = _bytes([*module.parameters(), *module.buffers()])
            module.register_forward_pre_hook(self._before(name))
            module.register_forward_hook(self._after(name, weights), with_kwargs=True)

    def reset(self) -> None:
        """Begin a run."""
        self.seconds: dict[str, float] = {}
        self.traffic: dict[str, int] = {}

    def _before(self, name: str) -> Callable:
        def before(*_: object) -> None:
            self._wait()
            self._begun[name] = time.perf_counter()

        return before

    def _after(self, name: str, weights: int) -> Callable:
        def after(_: nn.Module, given: tuple, named: dict, output: object) -> None:
            self._wait()
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - self._begun[name]
            self.traffic[name] = self.traffic.get(name, 0) + weights + _bytes(_tensors([given, named, output]))

        return after


def build_network(config: Config, checkpoint: str | None) -> nn.Module:
    """A network in evaluation mode, in the form that is deployed.

    Without a checkpoint, and if this package knows the method, its outputs are made to differ as those of a trained
    network do. They decide how many boxes there are to suppress.

    Args:
        config: Config of mmdet or mmseg.
        checkpoint: Its weights.

    Raises:
        CheckpointError: If the checkpoint is not of this network.
    """
    torch.manual_seed(0)
    init_default_scope(config.default_scope)
    if checkpoint is not None:
        network = build_pytorch_model(config, checkpoint)
    else:
        config = copy.deepcopy(config)
        config.model.backbone.init_cfg = None
        network = MODELS.build(config.model)
        with quiet():
            network.init_weights()
        noise = np.random.default_rng(0).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
        with contextlib.suppress(ConfigError):  # of a method that this package does not know
            method_of(config)
            spread_outputs(network, config, list(noise))
    network.eval()
    if hasattr(network.backbone, 'switch_to_deploy'):
        network.backbone.switch_to_deploy()
    return network


def modules_candidate(
    path: str | os.PathLike, config: Config, network: nn.Module, image: np.ndarray, device: str
) -> Candidate:
    """A detector or segmentor in PyTorch, from an image to results in its pixels, with every block watched.

    Args:
        path: The config's file.
        config: The config.
        network: The network of :func:`build_network`; it stays as it is.
        image: ``(H, W, 3)`` uint8, BGR.
        device: ``'cpu'`` or ``'cuda'``.
    """

    def load_it(workshop: Workshop) -> Loaded:
        loaded = copy.deepcopy(network).to(device)
        reference = Reference(loaded, config)
        item = reference.prepare(image)
        _, by_operator, by_module, _ = count_operators(reference.test, item)
        macs = {name.partition('.')[2]: count for name, count in by_module.items()}
        blocks = blocks_of(loaded)
        watch, runs = Watch(blocks, device), []

        def run() -> None:
            watch.reset()
            begun = time.perf_counter()
            reference.test(item)
            total = time.perf_counter() - begun
            runs.append({**watch.seconds, OUTSIDE: total - sum(watch.seconds.values())})

        def parts() -> dict:
            counted = runs[len(runs) // 2 :]
            about = {
                name: dict(
                    type=type(blocks[name]).__name__,
                    params=sum(parameter.numel() for parameter in blocks[name].parameters()),
                    macs=macs.get(name, 0),
                    bytes=watch.traffic[name],
                )
                for name in watch.seconds
            }
            medians = {name: statistics.median(run[name] for run in counted) * 1e3 for name in (*about, OUTSIDE)}
            return dict(parts_ms=medians, extra=dict(modules=about))

        params = sum(parameter.numel() for parameter in network.parameters())
        return Loaded(run, dict(params=params, macs=sum(by_operator.values()), image=list(image.shape[:2])), parts)

    kind = config.model.type
    facts = dict(name=Path(path).stem, scope='end-to-end', method=kind if isinstance(kind, str) else kind.__name__)
    facts.update(source=Path(path).name, origin='registry', backend=PYTORCH, mode='eager', precision='fp32')
    return Candidate(dict(facts, device=device), load_it)


def study_modules(
    config: str,
    checkpoint: str | None = None,
    image: str | None = None,
    size: str = '800x1333',
    out: str | os.PathLike = 'work_dirs/study',
    cfg_options: Mapping | None = None,
    **settings: Any,
) -> dict:
    """Measure a detector or segmentor block by block, and print the slowest and the least efficient ones.

    Args:
        config: Config of mmdet or mmseg.
        checkpoint: Its weights; see :func:`build_network`.
        image: The file of an image; by default random pixels.
        size: Size of the random pixels.
        out: Folder of ``rows.jsonl``; rows are added to those that are there.
        cfg_options: Changes to the config.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The row; ``parts_ms`` has the median of each block, ``extra['modules']`` its costs.

    Raises:
        ConfigError: If the config cannot be used, or the machine is busy.
        CheckpointError: If the checkpoint is not of this network.
        DataError: If the image cannot be read.
        DeployError: If the network does not run.
    """
    read = load_config(config, cfg_options)
    if 'backbone' not in read.get('model', {}):
        raise ConfigError(
            f'{config} has no model.backbone.', expected='a config of mmdet or mmseg', fix='name another config'
        )
    pixels = read_image(image_or_noise(image, size))
    network = build_network(read, checkpoint)
    sweep = make_sweep(out, **settings)
    row = next(
        row
        for row in sweep([[modules_candidate(config, read, network, pixels, sweep.device)]])
        if row['scope'] != 'gemm'
    )
    if row['status'] == 'FAILED':
        raise DeployError(
            f'{config} does not run: {row["reason"]}',
            expected='a network whose test_step takes an image',
            fix='run tools/test.py on it first, or choose another --image or --size',
        )
    print('\n'.join(['', module_table(row), '', *verdict(row)]))
    return row


def shares(row: Mapping) -> list[dict]:
    """The blocks of a row, slowest first.

    Returns:
        For each ``name``, ``type``, ``ms``, ``share`` of the latency, ``macs``, ``params``, ``bytes``, ``intensity``
        (multiply-accumulates a byte), ``rate`` (multiply-accumulates a second) and ``reached``, the share of the limit
        (None without one).
    """
    total, limit = sum(row['parts_ms'].values()), (row['limit'] or {}).get('macs_per_second')
    found = []
    for name, about in row['extra']['modules'].items():
        ms = row['parts_ms'][name]
        rate = about['macs'] / ms * 1e3
        intensity = about['macs'] / about['bytes'] if about['bytes'] else 0.0
        times = dict(ms=ms, share=ms / total, intensity=intensity, rate=rate, reached=rate / limit if limit else None)
        found.append(dict(about, name=name, **times))
    return sorted(found, key=lambda block: -block['ms'])


def module_table(row: Mapping) -> str:
    """A table of the blocks of a row, slowest first."""
    header = ['block', 'class', 'ms', 'share', 'MACs G', 'params M', 'MACs a byte', 'GMACs a second', 'of the limit']
    cells = [
        [
            block['name'],
            block['type'],
            f'{block["ms"]:.2f}',
            f'{block["share"]:.1%}',
            f'{block["macs"] / 1e9:.3f}',
            f'{block["params"] / 1e6:.2f}',
            f'{block["intensity"]:.1f}',
            f'{block["rate"] / 1e9:.1f}',
            '' if block['reached'] is None else f'{block["reached"]:.0%}',
        ]
        for block in shares(row)
    ]
    rest = row['parts_ms'][OUTSIDE]
    cells.append([OUTSIDE, '', f'{rest:.2f}', f'{rest / sum(row["parts_ms"].values()):.1%}', *[''] * 5])
    return table(header, cells)


def verdict(row: Mapping) -> list[str]:
    """The slowest blocks and the least efficient ones, in words."""
    blocks = shares(row)
    worth = sorted((b for b in blocks if b['share'] >= WORTH and b['macs']), key=lambda block: block['rate'])

    def named(chosen: Sequence[Mapping], text: str) -> str:
        return ', '.join(f'{block["name"]} ({text.format_map(block)})' for block in chosen[:NAMED])

    lines = [f'Slowest: {named(blocks, "{ms:.1f} ms, {share:.0%}")}']
    if worth:
        text = '{rate:.3g} MACs a second' if worth[0]['reached'] is None else '{reached:.0%} of the limit'
        lines.append(f'Least efficient, of those above {WORTH:.0%} of the latency: {named(worth, text)}')
    return lines
