"""Titles and cells that several tables share."""

from collections.abc import Iterable, Mapping

from mmtrtvit.latency import Latency, ratio
from mmtrtvit.runtime.backends import BACKENDS

from .render import unsteady_mark

METRICS = {
    'bbox_mAP': 'box AP',
    'bbox_mAP_50': 'box AP50',
    'segm_mAP': 'mask AP',
    'segm_mAP_50': 'mask AP50',
    'mIoU': 'mIoU',
    'aAcc': 'aAcc',
    'top1': 'top-1',
}
"""Suffixes of metric names to their titles."""

UNSTEADY = '(u): unsteady, the inter-quartile range is above 5 % of the median.'

PLAIN, OURS = 'plain mmdeploy', 'this package'
"""Exporters: mmdeploy without this package's rewriters and folding, and with them."""

RATIO = 'Ratio: the median over the rounds, in each of which both took their turn.'

RUNTIMES = {'pytorch': 'PyTorch', **{backend.name: backend.title for backend in BACKENDS.values()}}
"""Backends of measured rows to their titles."""


def one_run(rows: Iterable[Mapping], **wanted: object) -> list[Mapping]:
    """The rows with these values that were measured in turn: those of the run with the most networks, the last such."""
    runs: dict[str, list[Mapping]] = {}
    for row in rows:
        if row['status'] == 'OK' and all(row[key] == value for key, value in wanted.items()):
            runs.setdefault(row['run'], []).append(row)
    return max(reversed(runs.values()), key=len, default=[])


def reached(row: Mapping) -> str:
    """Median and 90th percentile, and the share of the limit, such as ``'25.0 / 27.9, 93 %'``."""
    share = f', {row["limit"]["share"] * 100:.0f} %' if row['limit'] else ''
    return f'{row["p50_ms"]:.1f} / {row["p90_ms"]:.1f}{share}{unsteady_mark(row["steady"])}'


def median(row: Mapping) -> str:
    """The median, milliseconds, such as ``'25.0'``."""
    return f'{row["p50_ms"]:.1f}{unsteady_mark(row["steady"])}'


def rounds_ratio(of: Mapping, to: Mapping) -> float:
    """Time of one row over that of another of the same run: the median over the rounds that both took part in."""
    latencies = [
        Latency(name, row['scope'], row['values_ms'], {}, row['first_counted'])
        for name, row in (('of', of), ('to', to))
    ]
    return ratio(latencies, 'of', 'to')


def runtime_title(row: Mapping) -> str:
    """The backend, and the mode of PyTorch if it is not the usual one."""
    mode = '' if row['mode'] in ('plain', 'eager') else f' {row["mode"]}'
    return f'{RUNTIMES[row["backend"]]}{mode}'


def with_precision(row: Mapping) -> str:
    """The backend and the precision."""
    return f'{runtime_title(row)} {row["precision"].upper()}'


def in_percent(name: str, value: float) -> float:
    """A metric in percent: COCO's go from 0 to 1, mmseg's are percent."""
    return 100 * value if 'mAP' in name else value
