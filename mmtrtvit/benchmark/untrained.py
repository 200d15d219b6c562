"""Checkpoints of shipped configs that were never trained, and whose outputs differ."""

import copy
from pathlib import Path

import torch
from mmengine.registry import MODELS, init_default_scope

from ..apis.config import load_config
from ..deploy.inference import sample_images
from ..errors import ConfigError
from .families import FAMILIES
from .methods import METHODS
from .spread import spread_outputs
from .zoo import Entry, find_configs


def find_entry(root: Path, method: str, family: str, arch: str | None = None) -> Entry:
    """The shipped config of a network, of the usual schedule of its method.

    Args:
        root: A checkout.
        method: A name in :data:`~mmtrtvit.benchmark.methods.METHODS`.
        family: A name in :data:`~mmtrtvit.benchmark.families.FAMILIES`.
        arch: Size of the backbone; by default the first one of the family.

    Raises:
        ConfigError: If there is no such config.
    """
    known = [entry for entry in find_configs(root) if (entry.method, entry.family) == (method, family)]
    for entry in known:
        if arch in (None, entry.arch) and entry.schedule == METHODS[method].schedule:
            return entry
    raise ConfigError(
        f'There is no config of {method} on {" ".join(filter(None, (family, arch)))}.',
        expected=f'--methods {" ".join(METHODS)}; --family {" ".join(FAMILIES)}; --archs '
        + ' '.join(dict.fromkeys(entry.arch for entry in known)),
        fix='correct them',
    )


def untrained_options(entry: Entry, size: int | None = None) -> dict:
    """Changes to a config, as ``--cfg-options``: no weights of ImageNet, and perhaps another size of images.

    Args:
        entry: The config.
        size: Images are resized to fit into a square of this many pixels; by default as the config has it.
    """
    options: dict = {'model.backbone.init_cfg': None}
    if size:
        place = next(i for i, step in enumerate(load_config(entry.path).test_pipeline) if step.type == 'Resize')
        for pipeline in ('test_pipeline', 'test_dataloader.dataset.pipeline'):
            options[f'{pipeline}.{place}.scale'] = (size, size)
    return options


def save_spread(entry: Entry, options: dict, path: Path) -> None:
    """Write a checkpoint of a network that was never trained, and whose outputs differ.

    Args:
        entry: Its config.
        options: Changes to the config, dotted key to value.
        path: The file to write.
    """
    config = load_config(entry.path, options)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config.model))
    model.init_weights()
    spread_outputs(model, config, sample_images(config, 3))
    torch.save({'state_dict': model.state_dict()}, path)
