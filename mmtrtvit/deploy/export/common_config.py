"""``backend_config.common_config`` of mmdeploy's deploy configs. This module imports nothing of mmdeploy."""

from collections.abc import Mapping

PRECISION_FLAGS = ('fp16_mode', 'int8_mode')
"""Settings by which mmdeploy sets the precision of an engine."""


def workspace_mib(settings: Mapping) -> int | None:
    """The limit of the scratch memory, MiB, from settings with ``max_workspace_size``, bytes.

    Returns:
        None for no limit, which mmdeploy writes as 0.
    """
    size = settings.get('max_workspace_size') or 0
    return max(size >> 20, 1) if size else None
