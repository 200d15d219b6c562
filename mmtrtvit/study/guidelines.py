"""The paper's four guidelines as claims about measured rows, and whether rows support them."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from ..report.tables import case_title

SUPPORTED, NOT_SUPPORTED, UNDECIDED = 'supported', 'not supported', 'not decided'

SLACK = 1.05
"""A network is "no slower" than another one within this factor."""

STUDENT = {2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
"""97.5 % quantile of Student's distribution by degrees of freedom; 2.0 beyond."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        value: Its value.
        spread: How far it may be off. Of a latency: half of the range that the middle half of the runs is in. Of an
            accuracy: half of the 95 % interval of the mean over seeds, and at least one image.
    """

    value: float
    spread: float

    def over(self, other: 'Figure') -> 'Figure':
        """The ratio of two figures."""
        value = self.value / other.value
        return Figure(value, value * math.hypot(self.spread / self.value, other.spread / other.value))


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A quantity that claims are about.

    Attributes:
        title: Its name in tables.
        text: Format of its values.
        power: The power of the latency in it, for its spread; 0 for accuracy.
    """

    title: str
    text: str
    power: int


QUANTITIES = {
    'latency': Quantity('latency, ms', '{:.2f}', 1),
    'flops': Quantity('TeraFLOPS', '{:.4f}', -1),
    'params': Quantity('TeraParams', '{:.5f}', -1),
    'top1': Quantity('top-1 from scratch, %', '{:.1f}', 0),
}
"""Quantities of claims by name."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One thing that a guideline says about rows: the first subject has less of a quantity than the second.

    Attributes:
        guideline: Its number.
        text: The claim in words.
        quantity: A key of :data:`QUANTITIES`.
        less: Name of the row that is said to have less; two names are the ratio of the first to the second.
        more: The one that is said to have more.
        slack: ``less`` may have this many times as much as ``more``.
    """

    guideline: int
    text: str
    quantity: str
    less: tuple[str, ...]
    more: tuple[str, ...]
    slack: float = 1.0


GUIDELINES = {
    1: 'Transformer blocks belong in the late stage.',
    2: 'A shallow-then-deep stage pattern is better.',
    3: 'A block that mixes Transformer and BottleNeck is more efficient than a Transformer block.',
    4: 'Inside such a block, global then local is best.',
}
"""The four guidelines by number."""

CLAIMS = (
    Claim(
        1,
        'TeraFLOPS of Transformer over BottleNeck: less in stage 1 than in stage 4',
        'flops',
        ('Transformer, stage 1', 'BottleNeck, stage 1'),
        ('Transformer, stage 4', 'BottleNeck, stage 4'),
    ),
    Claim(1, 'MixNetV is faster than the PVT-like network', 'latency', ('MixNetV',), ('PVT-like',)),
    Claim(1, 'MixNetV is more accurate than ResNet', 'top1', ('ResNet',), ('MixNetV',)),
    Claim(
        2,
        'TeraParams of BottleNeck rise from stage 1 to 4',
        'params',
        ('BottleNeck, stage 1',),
        ('BottleNeck, stage 4',),
    ),
    Claim(
        2,
        'TeraParams of Transformer rise from stage 1 to 4',
        'params',
        ('Transformer, stage 1',),
        ('Transformer, stage 4',),
    ),
    Claim(2, 'Refined-ResNet is no slower than ResNet', 'latency', ('Refined-ResNet',), ('ResNet',), SLACK),
    Claim(2, 'Refined-MixNetV is no slower than MixNetV', 'latency', ('Refined-MixNetV',), ('MixNetV',), SLACK),
    Claim(2, 'Refined-ResNet is more accurate than ResNet', 'top1', ('ResNet',), ('Refined-ResNet',)),
    Claim(2, 'Refined-MixNetV is more accurate than MixNetV', 'top1', ('MixNetV',), ('Refined-MixNetV',)),
    Claim(
        3,
        'MixBlockC is faster than Transformer in stage 4',
        'latency',
        ('MixBlockC, stage 4',),
        ('Transformer, stage 4',),
    ),
    Claim(
        3,
        'MixBlockC has more TeraFLOPS than Transformer in stage 4',
        'flops',
        ('Transformer, stage 4',),
        ('MixBlockC, stage 4',),
    ),
    Claim(3, 'MixNetC is faster than MixNetV', 'latency', ('MixNetC',), ('MixNetV',)),
    Claim(4, 'MixNetC is no slower than MixNetB', 'latency', ('MixNetC',), ('MixNetB',), SLACK),
    Claim(4, 'MixNetC is more accurate than MixNetA', 'top1', ('MixNetA',), ('MixNetC',)),
    Claim(4, 'MixNetC is more accurate than MixNetB', 'top1', ('MixNetB',), ('MixNetC',)),
    Claim(4, 'MixNetC is more accurate than MixNetV', 'top1', ('MixNetV',), ('MixNetC',)),
)
"""What the guidelines say about the blocks and networks of the study."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim held against rows.

    Attributes:
        claim: The claim.
        where: Backend and precision, or the recipe of the training.
        less: Figure of the subject that is said to have less.
        more: That of the other one.
        verdict: :data:`SUPPORTED`, :data:`NOT_SUPPORTED` or :data:`UNDECIDED`.
    """

    claim: Claim
    where: str
    less: Figure
    more: Figure
    verdict: str


def tera(row: Mapping, count: str) -> float:
    """Density of a row: ``'macs'`` or ``'params'`` over latency, 10^12 a second.

    ``'macs'`` gives TeraFLOPS as the paper's tables count: a multiply-accumulate is one operation, and those of all
    images of the batch count. ``'params'`` gives TeraParams: the parameters in training, whatever the batch.
    """
    return row[count] / row['p50_ms'] * 1e-9


def judge(less: Figure, more: Figure, slack: float = 1.0) -> str:
    """Whether the first figure is below the second (times ``slack``), by more than both spreads together."""
    limit, spread = more.value * slack, math.hypot(less.spread, more.spread * slack)
    if not math.isfinite(spread) or abs(limit - less.value) <= spread:
        return UNDECIDED
    return SUPPORTED if less.value < limit else NOT_SUPPORTED


def _measured(row: Mapping, quantity: str) -> Figure:
    power = QUANTITIES[quantity].power
    value = row['p50_ms'] if quantity == 'latency' else tera(row, 'macs' if quantity == 'flops' else 'params')
    return Figure(value, abs(power) * value * row['variation'] / 2)


def accuracy_of(rows: Sequence[Mapping]) -> Figure:
    """Mean accuracy of the runs of a network, percent; its spread is infinite for one run."""
    found = [row['top1'] for row in rows]
    one_image = 100 / rows[0]['val_images']
    if len(found) < 2:
        return Figure(found[0], math.inf)
    quantile = STUDENT.get(2 * (len(found) - 1), 2.0)  # two networks with as many runs each are compared
    return Figure(statistics.fmean(found), max(quantile * statistics.stdev(found) / math.sqrt(len(found)), one_image))


def runs_of(rows: Iterable[Mapping], scope: str) -> list[list[Mapping]]:
    """Rows of the study that were measured in turn.

    Args:
        rows: Measured rows.
        scope: ``'block'`` or ``'backbone'``.

    Returns:
        For each batch, and each input size of networks, the rows of one run: that with the most rows, the last such.
    """
    runs: dict[tuple, list[Mapping]] = {}
    for row in rows:
        if row['status'] == 'OK' and row['scope'] == scope and 'study' in row['extra']:
            size = None if scope == 'block' else tuple(row['shape'][2:])
            runs.setdefault((row['batch'], size, row['run']), []).append(row)
    found: dict[tuple, list[Mapping]] = {}
    for (*setting, _), run in runs.items():
        if len(run) >= len(found.get(tuple(setting), ())):
            found[tuple(setting)] = run
    return list(found.values())


def cases_of(run: Iterable[Mapping]) -> dict[str, dict[str, Mapping]]:
    """Backend, mode and precision in words to rows by name."""
    found: dict[str, dict[str, Mapping]] = {}
    for row in run:
        case = case_title([row[key] for key in ('backend', 'mode', 'precision')])
        found.setdefault(case, {})[row['name']] = row
    return found


def by_recipe(rows: Iterable[Mapping]) -> list[dict[str, list[Mapping]]]:
    """Finished runs of each network, by name, for each data set and recipe."""
    found: dict[str, dict[str, list[Mapping]]] = {}
    for row in rows:
        if row['status'] == 'OK':
            recipe = json.dumps([row['data'], row['recipe']], sort_keys=True)
            found.setdefault(recipe, {}).setdefault(row['name'], []).append(row)
    return list(found.values())


def findings(rows: Iterable[Mapping], accuracy: Iterable[Mapping] = ()) -> list[Finding]:
    """Hold every claim against rows.

    Args:
        rows: Measured rows of blocks and networks.
        accuracy: Rows of :func:`~mmtrtvit.study.training.study_training`.

    Returns:
        A finding for each claim, and each backend or recipe that has both of its subjects.
    """
    rows = list(rows)
    figures: dict[str, list[tuple[str, Mapping[str, Figure]]]] = {}
    for scope in ('block', 'backbone'):
        for run in runs_of(rows, scope):
            for case, named in cases_of(run).items():
                batch = next(iter(named.values()))['batch']
                for quantity in ('latency', 'flops', 'params'):
                    found = {name: _measured(row, quantity) for name, row in named.items()}
                    figures.setdefault(quantity, []).append((f'{case}, batch {batch}', found))
    for runs in by_recipe(accuracy):
        first = next(iter(runs.values()))[0]
        where = f'{first["data"]}, {first["recipe"]["epochs"]} epochs, {first["val_images"]} images'
        figures.setdefault('top1', []).append((where, {name: accuracy_of(found) for name, found in runs.items()}))
    answers = []
    for claim in CLAIMS:
        for where, found in figures.get(claim.quantity, ()):
            if all(name in found for name in (*claim.less, *claim.more)):
                less, more = (_ratio(found, names) for names in (claim.less, claim.more))
                answers.append(Finding(claim, where, less, more, judge(less, more, claim.slack)))
    return answers


def _ratio(found: Mapping[str, Figure], names: Sequence[str]) -> Figure:
    return found[names[0]] if len(names) == 1 else found[names[0]].over(found[names[1]])
