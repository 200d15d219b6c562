"""What training runs reached, side by side."""

from collections.abc import Mapping

from .text import NO_RUN, markdown

TITLES = {
    'bbox_mAP': 'box AP',
    'bbox_mAP_50': 'box AP50',
    'segm_mAP': 'mask AP',
    'segm_mAP_50': 'mask AP50',
    'mIoU': 'mIoU',
    'aAcc': 'aAcc',
}
"""How a metric ends, and what it is called."""


def runs_table(result: Mapping | None) -> str:
    """What ``tools/benchmark.py runs`` read, metrics in percent.

    Args:
        result: What ``runs.json`` holds, or ``None``.
    """
    if result is None:
        return NO_RUN.format(command='python tools/benchmark.py runs WORK_DIR')
    lines = []
    for row in result['rows']:
        shown = [
            f'{title} {percent(name, value):.1f}'
            for ending, title in TITLES.items()
            for name, value in row['metrics'].items()
            if name.split('/')[-1] == ending
        ]
        lines.append(
            [f'`{row["config"]}`', row['iterations'], row['images'], f'{row["seconds"] / 60:.0f}', ', '.join(shown)]
        )
    machine = result['machine'][0]
    note = (
        f'*Measured* on {machine["processor"]}. Metrics of the last evaluation, percent; minutes of training '
        'alone, beside whatever else the machine did.'
    )
    return '\n\n'.join([markdown(['config', 'iterations', 'images seen', 'minutes', 'validation split'], lines), note])


def percent(name: str, value: float) -> float:
    """A metric in percent: COCO's count from 0 to 1, mmseg's are percent."""
    return 100 * value if 'mAP' in name else value
