"""The shipped configs, found by their names."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError
from .families import FAMILIES, Family
from .methods import METHODS, Method

_NAME = re.compile(
    rf'(?P<method>{"|".join(METHODS)})_(?P<family>{"|".join(FAMILIES)})(?:_(?P<arch>[a-z][a-z0-9]*))?'
    r'(?:_(?P<schedule>\d+[xk]))?_(?P<dataset>coco|ade20k|toy)'
)
_SCHEDULE_UNITS = {'EpochBasedTrainLoop': ('Epochs', 'max_epochs'), 'IterBasedTrainLoop': ('Iterations', 'max_iters')}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A config, described by its name.

    Attributes:
        path: The file.
        method: A name in :data:`~mmtrtvit.zoo.methods.METHODS`.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        arch: Size of the backbone.
        schedule: Its schedule, such as ``'1x'`` or ``'160k'``.
    """

    path: Path
    method: str
    family: str
    arch: str
    schedule: str

    @property
    def name(self) -> str:
        """Name of the config."""
        return self.path.stem

    @property
    def title(self) -> str:
        """Name of the backbone."""
        return FAMILIES[self.family].name(self.arch)

    @property
    def table(self) -> str:
        """The table of published figures that it belongs to."""
        return f'{self.method}_{self.schedule}'

    @property
    def about(self) -> Method:
        """Its method."""
        return METHODS[self.method]

    @property
    def backbones(self) -> Family:
        """The family of its backbone."""
        return FAMILIES[self.family]

    @property
    def recipe(self) -> str:
        """The recipe that it follows; the text begins with ``published`` or ``adapted``."""
        recipe = self.backbones.recipes.get(self.table, self.backbones.recipe)
        return '; '.join(filter(None, (recipe, self.about.recipe)))

    def load(self) -> Config:
        """Read the config."""
        return Config.fromfile(self.path)


_CLASSIFIER = re.compile(rf'(?P<family>{"|".join(FAMILIES)})(?:_(?P<arch>[a-z][a-z0-9]*))?(?:_(?P<size>\d+))?_in1k')


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A config of ``configs/imagenet``, described by its name.

    Attributes:
        path: The file.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        arch: Size of the backbone.
        size: Height and width of the images, pixels.
    """

    path: Path
    family: str
    arch: str
    size: int

    @property
    def title(self) -> str:
        """Name of the backbone."""
        return FAMILIES[self.family].name(self.arch)

    @property
    def recipe(self) -> str:
        """The recipe that it follows; the text begins with ``published`` or ``adapted``."""
        return FAMILIES[self.family].pretraining[self.size]

    def load(self) -> Config:
        """Read the config."""
        return Config.fromfile(self.path)


def find_classifiers(root: Path) -> list[Classifier]:
    """Every config of ``configs/imagenet``: families, sizes of images and of backbones in order.

    Args:
        root: A checkout.
    """
    found = []
    for path in (root / 'configs' / 'imagenet').glob('*.py'):
        name = _CLASSIFIER.fullmatch(path.stem)
        if name:
            arch = name['arch'] or FAMILIES[name['family']].archs[0]
            found.append(Classifier(path, name['family'], arch, int(name['size'] or 224)))
    families = list(FAMILIES)
    return sorted(found, key=lambda e: (families.index(e.family), e.size, FAMILIES[e.family].archs.index(e.arch)))


def schedule_length(config: Config) -> tuple[str, int]:
    """The length of a config's training: ``('Epochs', 12)`` or ``('Iterations', 80000)``."""
    unit, key = _SCHEDULE_UNITS[config.train_cfg.type]
    return unit, config.train_cfg[key]


def find_configs(root: Path) -> list[Entry]:
    """Every config below ``configs/`` that is not for the toy data set: methods, families and sizes in order.

    Args:
        root: A checkout.
    """
    entries = []
    for path in (root / 'configs').glob('*.py'):
        found = _NAME.fullmatch(path.stem)
        if found and found['dataset'] != 'toy':
            method = found['method']
            schedule = found['schedule'] or METHODS[method].schedule
            # a family of one size does without its name
            arch = found['arch'] or FAMILIES[found['family']].archs[0]
            entries.append(Entry(path, method, found['family'], arch, schedule))
    methods, families = list(METHODS), list(FAMILIES)

    def place(entry: Entry) -> tuple:
        size = entry.backbones.archs.index(entry.arch)
        return families.index(entry.family), methods.index(entry.method), entry.schedule, size

    return sorted(entries, key=place)


def select_configs(
    root: Path, family: str, methods: Sequence[str] = tuple(METHODS), archs: Sequence[str] | None = None
) -> list[Entry]:
    """The configs of a family with the usual schedule of their method.

    Args:
        root: A checkout.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        methods: Names in :data:`~mmtrtvit.zoo.methods.METHODS`.
        archs: Sizes; by default all.

    Raises:
        ConfigError: If a name is unknown, or no config matches.
    """
    entries = [e for e in find_configs(root) if e.family == family and e.schedule == e.about.schedule]
    for option, given, known in (
        ('family', [family], FAMILIES),
        ('methods', methods, METHODS),
        ('archs', archs or (), dict.fromkeys(e.arch for e in entries)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ConfigError(
                f'There is no config for --{option} {" ".join(unknown)}.',
                expected=f'some of {", ".join(known)}',
                fix=f'correct --{option}',
            )
    found = [e for e in entries if e.method in methods and (not archs or e.arch in archs)]
    if not found:
        raise ConfigError(
            f'There is no config of {" ".join(methods)} on {family} {" ".join(archs or ())}.',
            expected=f'one of {", ".join(e.name for e in entries)}',
            fix='correct --methods or --archs',
        )
    return found


def network_config(root: Path, method: str, family: str, arch: str) -> Config:
    """The config of a method on a backbone, with the usual schedule.

    Args:
        root: A checkout.
        method: A name in :data:`~mmtrtvit.zoo.methods.METHODS`.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        arch: A size of the family.

    Raises:
        ConfigError: If there is none.
    """
    return select_configs(root, family, [method], [arch])[0].load()
