"""What the commands of tools/benchmark.py may be asked for."""

from ..errors import ConfigError

COUNTS = ('size', 'batch', 'images', 'iterations', 'threads')
"""Settings of which there is at least one."""


def check_settings(**settings: float | None) -> None:
    """Make sure that what is counted is positive.

    Args:
        settings: Named as the options are; only those of :data:`COUNTS` are looked at. ``None`` is always right.

    Raises:
        ConfigError: Naming the option that is not.
    """
    for name in COUNTS:
        value = settings.get(name)
        if value is not None and value < 1:
            raise ConfigError(
                f'--{name} {value} has no meaning.', expected='a whole number from 1 on', fix=f'correct --{name}'
            )
