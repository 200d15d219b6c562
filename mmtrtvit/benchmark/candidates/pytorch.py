"""Candidates that run in PyTorch: backbones, and whole networks."""

import contextlib
import copy
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ...errors import ConfigError
from ...testing.random_inputs import random_batch
from ...testing.untrained import spread_outputs
from ...zoo.complexity import network_complexity
from ..parts import module_times
from ..sources import Source
from .candidate import PYTORCH, Candidate, Loaded, Workshop
from .cuda import between_events, captured

MODES = ('eager', 'compiled', 'channels_last', 'compiled+channels_last', 'graph', 'graph+channels_last')
"""Modes of PyTorch; ``graph`` is the replay of a CUDA graph."""

PYTORCH_PRECISIONS = {'cpu': ('fp32', 'bf16'), 'cuda': ('fp32', 'tf32', 'bf16', 'fp16')}
"""Device to the precisions that PyTorch computes in. TF32 is set for each run: it is off in ``fp32``."""

_DTYPES = {'fp32': torch.float32, 'tf32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


@contextlib.contextmanager
def _arithmetic(tf32: bool) -> Iterator[None]:
    """Set TF32 of matrix products and convolutions, whatever the process had."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def pytorch_run(
    network: nn.Module, shape: Sequence[int], mode: str, precision: str, device: str
) -> Callable[[], object]:
    """A run of a network on random values of this shape, in PyTorch.

    On a GPU it returns its time by CUDA events.

    Args:
        network: The network.
        shape: Shape of the input.
        mode: One of :data:`MODES`.
        precision: One of :data:`PYTORCH_PRECISIONS`.
        device: ``'cpu'`` or ``'cuda'``.
    """
    dtype = _DTYPES[precision]
    layout = torch.channels_last if 'channels_last' in mode else torch.contiguous_format
    network = network.to(device, dtype)
    image = torch.rand(*shape).to(device, dtype)
    if len(shape) == 4:
        network, image = network.to(memory_format=layout), image.to(memory_format=layout)
    if 'compiled' in mode:
        network = torch.compile(network)

    def run() -> object:
        with torch.inference_mode(), _arithmetic(tf32=precision == 'tf32'):
            return network(image)

    if 'graph' in mode:
        replay, _ = captured(run)
        return lambda: between_events(replay)
    return run if device == 'cpu' else lambda: between_events(run)


def pytorch_candidate(
    source: Source, shape: Sequence[int], mode: str, precision: str, device: str, parts: bool = False
) -> Candidate:
    """A network in PyTorch.

    Args:
        source: The network.
        shape: ``(B, 3, H, W)``.
        mode: One of :data:`MODES`.
        precision: One of :data:`PYTORCH_PRECISIONS`; the whole network is of that type.
        device: ``'cpu'`` or ``'cuda'``.
        parts: Time the blocks of a backbone of this package, in the modes of a CPU in which they run one by one.
    """
    facts = dict(source.facts, backend=PYTORCH, mode=mode, precision=precision, device=device, shape=list(shape))

    def load_it(workshop: Workshop) -> Loaded:
        with torch.device(device):  # random weights are made sooner there
            network = source.build()
        run = pytorch_run(network, shape, mode, precision, device)
        if parts and device == 'cpu' and mode in ('eager', 'channels_last'):
            return Loaded(run, source.count(shape), lambda: dict(parts_ms=module_times(network, run)))
        return Loaded(run, source.count(shape))

    return Candidate(facts, load_it)


def network_candidate(
    path: str | os.PathLike, config: Config, shape: Sequence[int], mode: str, precision: str, device: str
) -> Candidate:
    """A detector or segmentor in PyTorch: from its normalised input to results in pixels of the input.

    It is untrained, but its outputs differ as those of a trained network do. mmdet pastes the masks, on the device.

    Args:
        path: The config's file.
        config: The config.
        shape: ``(B, 3, H, W)``.
        mode: One of :data:`MODES`.
        precision: One of :data:`PYTORCH_PRECISIONS`.
        device: ``'cpu'`` or ``'cuda'``.
    """

    def load_it(workshop: Workshop) -> Loaded:
        batch, _, height, width = shape
        torch.manual_seed(0)
        init_default_scope(config.default_scope)
        network = MODELS.build(dict(config.model, _scope_=config.default_scope))
        noise = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        spread_outputs(network, config, list(noise))
        network.eval()
        if hasattr(network.backbone, 'switch_to_deploy'):
            network.backbone.switch_to_deploy()
        data = random_batch(config, batch, height, width)
        network = network.to(device, _DTYPES[precision])
        prepared = network.data_preprocessor(data, False)
        image, samples = prepared['inputs'].to(_DTYPES[precision]), prepared['data_samples']
        if 'channels_last' in mode:
            network, image = (part.to(memory_format=torch.channels_last) for part in (network, image))
        if 'compiled' in mode:
            network.backbone = torch.compile(network.backbone)

        def run() -> object:
            with torch.inference_mode(), _arithmetic(tf32=precision == 'tf32'):
                return network.predict(image, copy.deepcopy(samples))

        try:
            counted = network_complexity(config, (height, width))
        except ConfigError:  # a method that this package does not count
            return Loaded(run)
        return Loaded(run, dict(params=counted.params, macs=counted.total_macs * batch))

    method = config.model.type
    facts = dict(name=Path(path).stem, scope='network', method=method, source=Path(path).name, origin='registry')
    facts.update(backend=PYTORCH, mode=mode, precision=precision, device=device, shape=list(shape))
    return Candidate(facts, load_it)
