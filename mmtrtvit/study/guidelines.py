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
        value: Its value: the median of a latency, the mean of an accuracy over seeds.
        spread: Half of its 95 % interval. That of an accuracy is at least one image.
    """

    value: float
    spread: float


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A quantity that claims are about.

    Attributes:
        title: Its name in tables.
        text: Format of its values.
        count: The field of a row that it is per second of; empty for latency and accuracy.
    """

    title: str
    text: str
    count: str = ''


QUANTITIES = {
    'latency': Quantity('latency, ms', '{:.2f}'),
    'flops': Quantity('TeraFLOPS', '{:.3g}', 'macs'),
    'params': Quantity('TeraParams', '{:.3g}', 'params'),
    'top1': Quantity('top-1 from scratch, %', '{:.1f}'),
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
"""The statements of the guidelines about the blocks and networks of the study."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A claim held against rows.

    Attributes:
        claim: The claim.
        where: Backend and precision, or the recipe of the training.
        less: Figure of the subject that is said to have less.
        more: That of the other one.
        compared: Their ratio, or the difference of accuracies in points.
        verdict: :data:`SUPPORTED`, :data:`NOT_SUPPORTED` or :data:`UNDECIDED`.
    """

    claim: Claim
    where: str
    less: Figure
    more: Figure
    compared: Figure
    verdict: str


def tera(row: Mapping, count: str) -> float:
    """Density of a row: ``'macs'`` or ``'params'`` over latency, 10^12 a second.

    ``'macs'`` gives TeraFLOPS as the paper's tables count: a multiply-accumulate is one operation, and those of all
    images of the batch count. ``'params'`` gives TeraParams: the parameters in training, whatever the batch.
    """
    return row[count] / row['p50_ms'] * 1e-9


def judge(low: float, high: float) -> str:
    """Whether one thing is less than another, from the 95 % interval of their difference."""
    return SUPPORTED if high < 0 else NOT_SUPPORTED if low > 0 else UNDECIDED


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a median, by the order of the values; infinite for fewer than six."""
    place = math.floor(len(values) / 2 - 0.98 * math.sqrt(len(values)))
    ordered = sorted(values)
    return (ordered[place], ordered[-1 - place]) if place >= 0 else (-math.inf, math.inf)


def _rounds(rows: Sequence[Mapping], quantity: str) -> list[list[float]]:
    """The quantity of each row in the rounds that count for all of them; in all rounds if there are none such."""
    start, stop = max(row['first_counted'] for row in rows), min(len(row['values_ms']) for row in rows)
    start = start if start < stop else 0
    count = QUANTITIES[quantity].count
    return [[row[count] / ms * 1e-9 if count else ms for ms in row['values_ms'][start:stop]] for row in rows]


def compare_rounds(claim: Claim, rows: Mapping[str, Mapping]) -> tuple[Figure, Figure, Figure, str]:
    """Hold a claim against rows that were measured in turn, round by round: so a drift of the machine cancels out.

    Args:
        claim: The claim.
        rows: Name to row.

    Returns:
        Both figures, the median of their ratio, and the verdict.
    """
    names = (*claim.less, *claim.more)
    values = dict(zip(names, _rounds([rows[name] for name in names], claim.quantity), strict=True))
    sides = [
        values[side[0]] if len(side) == 1 else [a / b for a, b in zip(*(values[name] for name in side), strict=True)]
        for side in (claim.less, claim.more)
    ]
    ratios = [less / more for less, more in zip(*sides, strict=True)]
    low, high = median_interval(ratios)
    return (*map(_median, (*sides, ratios)), judge(low - claim.slack, high - claim.slack))


def _median(values: Sequence[float]) -> Figure:
    low, high = median_interval(values)
    return Figure(statistics.median(values), (high - low) / 2)


def compare_seeds(claim: Claim, figures: Mapping[str, Figure]) -> tuple[Figure, Figure, Figure, str]:
    """Hold a claim about accuracy against figures by name; as :func:`compare_rounds`."""
    less, more = figures[claim.less[0]], figures[claim.more[0]]
    difference = Figure(less.value - more.value, math.hypot(less.spread, more.spread))
    low, high = difference.value - difference.spread, difference.value + difference.spread
    return less, more, difference, judge(low, high)


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
    timed = [
        (f'{case}, batch {run[0]["batch"]}' + (f', {run[0]["shape"][2]} pixels' if scope == 'backbone' else ''), named)
        for scope in ('block', 'backbone')
        for run in runs_of(rows, scope)
        for case, named in cases_of(run).items()
    ]
    trained = []
    for runs in by_recipe(accuracy):
        first = next(iter(runs.values()))[0]
        where = f'{first["data"]}, {first["recipe"]["epochs"]} epochs, {first["val_images"]} images'
        trained.append((where, {name: accuracy_of(found) for name, found in runs.items()}))
    answers = []
    for claim in CLAIMS:
        compare, cases = (compare_seeds, trained) if claim.quantity == 'top1' else (compare_rounds, timed)
        for where, found in cases:
            if all(name in found for name in (*claim.less, *claim.more)):
                answers.append(Finding(claim, where, *compare(claim, found)))
    return answers
