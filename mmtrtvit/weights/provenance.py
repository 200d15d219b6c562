"""What a converted checkpoint says of itself, and whether a backbone is what it was trained as."""

from collections.abc import Mapping

from ..errors import CheckpointError

KEY = 'conversion'
"""Where ``meta`` of a checkpoint says it."""


def provenance_of(checkpoint: Mapping) -> Mapping | None:
    """What ``tools/convert_weights.py`` wrote into a checkpoint; ``None`` where another program made it."""
    meta = checkpoint.get('meta')
    found = meta.get(KEY) if isinstance(meta, Mapping) else None
    return found if isinstance(found, Mapping) else None


def check_provenance(backbone: object, checkpoint: Mapping, source: str) -> None:
    """Make sure that a backbone computes what its weights were trained for, where names and shapes cannot tell.

    Next-ViT's keys and values are pooled in one of two ways with the same weights: loaded into the other one, a network
    runs without an error and gives wrong features.

    Args:
        backbone: The backbone to fill; a setting that it lacks as an attribute is not compared.
        checkpoint: As read.
        source: Where it came from, for the message.

    Raises:
        CheckpointError: Naming the setting of the backbone to correct.
    """
    told = provenance_of(checkpoint) or {}
    for name, trained in told.get('settings', {}).items():
        built = getattr(backbone, name, trained)
        if built != trained:
            raise CheckpointError(
                f'{source} was trained with {name}={trained!r}, the backbone is built with {name}={built!r}: every '
                'name and shape fits, and the features would be wrong.',
                expected=f'{name}={trained!r}',
                fix=f'set {name}={trained!r} in the backbone of the config',
            )
