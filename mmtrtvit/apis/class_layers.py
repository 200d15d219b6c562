"""The layers of a network that depend on the number of classes."""

import copy
from collections.abc import Mapping

import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS

from ..checkpoint import LoadReport, compare, read_checkpoint, weights_of
from ..datasets.class_checks import class_counts


def build_without_memory(model: Mapping, scope: str | None) -> nn.Module:
    """Build a network whose tensors have shapes and no values.

    Args:
        model: ``config.model``.
        scope: The ``default_scope`` of the config.
    """
    settings = copy.deepcopy(dict(model))
    settings['backbone'] = {**settings['backbone'], 'init_cfg': None}
    with torch.device('meta'):
        return MODELS.build({**settings, '_scope_': scope})


def class_layers(config: Config) -> frozenset[str]:
    """Names of the tensors whose shapes depend on the number of classes: those that differ when there is one more.

    Args:
        config: A whole config.
    """
    more = copy.deepcopy(config)
    more.merge_from_dict({place: count + 1 for place, count in class_counts(config.model)})
    one, other = (
        {
            name: value.shape
            for name, value in build_without_memory(it.model, it.get('default_scope')).state_dict().items()
        }
        for it in (config, more)
    )
    return frozenset(name for name, shape in one.items() if shape != other[name])


def starts_anew(report: LoadReport, config: Config) -> list[str] | None:
    """The tensors that a checkpoint of the same network with other classes leaves as they are initialised.

    Args:
        report: The checkpoint against the network of ``config``.
        config: A whole config.

    Returns:
        Their names; ``None`` if the checkpoint differs in more than the classes.
    """
    names = [name for name, *_ in report.reshaped]
    fits = not report.missing and not report.unexpected and set(names) <= class_layers(config)
    return names if fits else None


def only_classes_differ(config: Config) -> bool:
    """True if ``load_from`` of a config with ``new_classes=True`` is the same network with other classes.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """
    if not config.get('new_classes') or not config.get('load_from') or config.get('resume'):
        return False
    network = build_without_memory(config.model, config.get('default_scope'))
    report = compare(network, weights_of(read_checkpoint(config.load_from)), str(config.load_from))
    return starts_anew(report, config) is not None
