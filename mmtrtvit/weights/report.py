"""The fate of every tensor of a checkpoint, as data and as lines to print."""

import dataclasses
from collections import Counter
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class ConversionReport:
    """Record of a conversion: it lists every name of the source and every name of the backbone.

    Attributes:
        file: Name of the source.
        sha256: Its digest, hexadecimal.
        source: The implementation that it comes from, such as ``'timm'``.
        family, arch: The backbone that it became.
        settings: Settings of the backbone that it needs.
        params: Number of parameters and statistics.
        mapped: Old name to new name.
        dropped: Old name to the reason why it is left out.
        missing: Name of the backbone that the source lacks, to the reason and its fate.
        beside: Name and type of everything else in the file, such as the state of an optimiser.
    """

    file: str
    sha256: str
    source: str
    family: str
    arch: str
    settings: Mapping[str, str]
    params: int
    mapped: Mapping[str, str]
    dropped: Mapping[str, str]
    missing: Mapping[str, str]
    beside: Mapping[str, str]

    def to_dict(self) -> dict:
        """As plain data."""
        return dataclasses.asdict(self)

    def provenance(self) -> dict:
        """The part that the checkpoint keeps: all but the lists of names."""
        kept = ('file', 'sha256', 'source', 'family', 'arch', 'settings')
        return {name: value for name, value in self.to_dict().items() if name in kept}

    def __str__(self) -> str:
        given = len(self.mapped) + len(self.dropped)
        lines = [
            f'{self.file} (sha256 {self.sha256[:12]}...): {self.family} {self.arch} of {self.source}',
            f'  {len(self.mapped)} of {given} tensors have their place here ({self.params / 1e6:.2f} M values)',
        ]
        lines += [f'  {count} dropped: {reason}' for reason, count in Counter(self.dropped.values()).items()]
        lines += [f'  {count} missing: {fate}' for fate, count in Counter(self.missing.values()).items()]
        if self.beside:
            lines.append(f'  beside the weights, left out: {", ".join(self.beside)}')
        settings = ', '.join(f'{name}={value!r}' for name, value in self.settings.items())
        return '\n'.join([*lines, *([f'  to be loaded with {settings}'] if settings else [])])
