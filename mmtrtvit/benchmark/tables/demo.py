"""The table of `make demo`."""

from collections.abc import Mapping

from .text import NO_RUN, markdown


def demo_table(summary: Mapping | None, picture: str) -> str:
    """The summary of ``make demo``, with its picture.

    Args:
        summary: What ``work_dirs/demo/summary.json`` holds, or ``None``.
        picture: Path of the picture, relative to the document.
    """
    if summary is None:
        return NO_RUN.format(command='make demo')
    metrics = {'bbox_mAP': 'box AP', 'bbox_mAP_50': 'box AP50', 'segm_mAP': 'mask AP', 'segm_mAP_50': 'mask AP50'}
    rows = []
    for name, title in {'pytorch': 'PyTorch', 'onnxruntime': 'ONNX Runtime'}.items():
        latency = summary[name]['latency_ms']
        cells = [f'{summary[name][metric]:.3f}' for metric in metrics]
        timed = f'{latency["median"]:.1f} / {latency["p90"]:.1f}{"" if latency["steady"] else " (u)"}'
        rows.append([title, *cells, timed])
    table = markdown(['', *metrics.values(), 'latency: p50 / p90 ms'], rows)
    parity, env, latency = summary['parity'], summary['env'], summary['pytorch']['latency_ms']
    largest = ', '.join(f'{name} {parity[name]["max"]:.1e}' for name in ('boxes', 'scores', 'labels', 'masks'))
    lines = [
        f'*Measured* in one run of {summary["minutes"]:.1f} minutes on {env["processor"]} '
        f'({env["torch_threads"]} threads), Python {env["python"]}, {env["torch"]}.',
        f'Parity on {parity["images"]} images: {parity["same"]} of {parity["detections"]} detections the same, '
        f'{parity.get("ties", 0)} near ties, {parity["extra"]} extra: {"PASS" if parity["passed"] else "FAIL"}; '
        f'largest differences: {largest}.',
        f'Latency {latency["scope"]}; image {latency["image"]}, {latency["precision"]}, {latency["runs"]} rounds; '
        f'PyTorch / ONNX Runtime = {summary["latency_ratio"]:.2f}.',
    ]
    if not all(summary[name]['latency_ms']['steady'] for name in ('pytorch', 'onnxruntime')):
        lines.append('(u): unsteady, the inter-quartile range is above 5 % of the median.')
    shown = f'![Truth, PyTorch and ONNX Runtime on images that training never saw]({picture})'
    return '\n\n'.join([table, '\n'.join(lines), shown])
