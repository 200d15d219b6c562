"""Renaming tensors by rules: each is mapped by its name, or dropped for a reason, or refused."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import torch

from ..errors import CheckpointError

_SHOWN = 6
"""Number of names that an error shows."""


def shown(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    return ', '.join(names[:_SHOWN]) + (f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else '')


@dataclasses.dataclass(frozen=True)
class Rule:
    """The new name of the tensors whose whole name matches a pattern, or the reason to drop them.

    Attributes:
        pattern: Regular expression for the whole name.
        name: Their name here, as a template of :meth:`re.Match.expand`, or ``None`` to drop them.
        reason: The reason to drop them.
    """

    pattern: str
    name: str | None
    reason: str = ''


@dataclasses.dataclass(frozen=True)
class Renamed:
    """Tensors under their new names, and the fate of every old one.

    Attributes:
        weights: New name to tensor.
        mapped: Old name to new name.
        dropped: Old name to the reason why it is not among ``weights``.
    """

    weights: dict[str, torch.Tensor]
    mapped: dict[str, str]
    dropped: dict[str, str]


def rename(
    weights: Mapping[str, torch.Tensor],
    rules: Sequence[Rule],
    source: str,
    known_as: Callable[[str], str] = str,
) -> Renamed:
    """Rename every tensor by the first rule whose pattern matches its whole name.

    Args:
        weights: Name to tensor.
        rules: The rules, in the order in which they are tried.
        source: Origin of the weights, for messages.
        known_as: Maps a tensor's own name to the name that the rules expect.

    Raises:
        CheckpointError: If no rule matches a name, or two names become one.
    """
    patterns = [(re.compile(rule.pattern), rule) for rule in rules]
    renamed, mapped, dropped, unknown = {}, {}, {}, []
    for old, value in weights.items():
        found = ((pattern.fullmatch(known_as(old)), rule) for pattern, rule in patterns)
        match, rule = next(((match, rule) for match, rule in found if match), (None, None))
        if rule is None:
            unknown.append(old)
        elif rule.name is None:
            dropped[old] = rule.reason
        else:
            new = match.expand(rule.name)
            if new in renamed:
                twice = [name for name, other in mapped.items() if other == new]
                raise CheckpointError(
                    f'{source}: {twice[0]} and {old} are both {new} here.',
                    expected='one tensor for each name',
                    fix='make sure that the file holds one network only',
                )
            mapped[old], renamed[new] = new, value
    if unknown or not renamed:
        raise CheckpointError(
            f'{source}: {f"unknown names: {shown(unknown)}" if unknown else "there are no weights in it"}.',
            expected=f'names such as {", ".join(rule.pattern for rule in rules[:3])}',
            fix='name the family and the implementation that the file is of',
        )
    return Renamed(renamed, mapped, dropped)
