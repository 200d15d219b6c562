"""Non-maximum suppression and top-k on batches, in standard ONNX operators or in plain arithmetic."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from mmcv.ops import nms
from torch import Tensor

from ....errors import DeployError
from ....runtime.backends import Backend
from ....runtime.backends.tensorrt.support import MOST_TOPK
from ..portable import suppress, suppressed_by

NO_LIMIT = torch.iinfo(torch.int32).max
"""More boxes per class than ever occur. Engines take the smaller of this and the number of boxes."""

BLOCKS = 4
"""Number of blocks that the portable suppression takes its candidates in, the best ones first. More blocks need less
memory and more steps."""

CANDIDATES = MOST_TOPK
"""Number of boxes, the best of all classes, that the portable suppression considers."""

EXACTNESS = 'exactness'
"""Key, in the meta information of the data samples, of the heads' notes on whether their selection is certain."""


_PLAIN_NMS: dict[str, Callable[[Any], bool]] = {
    'type': lambda value: value == 'nms',
    'iou_threshold': lambda value: isinstance(value, (int, float)),
    'class_agnostic': lambda value: not value,
    'offset': lambda value: value == 0,
    'score_threshold': lambda value: value <= 0,  # mmcv ignores it at 0 and below
    'max_num': lambda value: value <= 0,
    'split_thr': lambda value: True,  # only mmcv's way of computing; the result is the same
}
"""Setting of mmcv's ``batched_nms`` to a test for values that keep it a plain suppression in each class."""


def plain_iou_threshold(nms_cfg: Mapping | None) -> float:
    """The IoU threshold of a head's ``test_cfg.nms``.

    Raises:
        DeployError: If it is not a plain suppression in each class. Nothing else can be exported exactly.
    """
    settings = {'type': 'nms', **(nms_cfg or {})}
    plain = all(name in _PLAIN_NMS and _PLAIN_NMS[name](value) for name, value in settings.items())
    if not plain or 'iou_threshold' not in settings:
        raise DeployError(
            f'test_cfg.nms={nms_cfg and dict(nms_cfg)} cannot be exported.',
            expected="dict(type='nms', iou_threshold=...), a plain suppression in each class",
            fix='change it with --cfg-options model.test_cfg..., and evaluate the checkpoint with it as well',
        )
    return float(settings['iou_threshold'])


def limit_of(cfg: Mapping, name: str, portable: bool) -> int:
    """``nms_pre`` or ``max_per_img`` of a head's ``test_cfg``: the maximum number of boxes of a level or an image.

    Args:
        cfg: The head's ``test_cfg``.
        name: ``'nms_pre'`` or ``'max_per_img'``.
        portable: Whether the graph is to be portable.

    Raises:
        DeployError: If the limit is missing, as an engine needs to know the number of boxes; or if a portable graph
            would need a larger top-k than TensorRT supports.
    """
    limit = cfg.get(name, -1)
    none, most = limit is None or limit <= 0, f'up to {MOST_TOPK}' if portable else 'such as 1000'
    if none or (portable and limit > MOST_TOPK):
        state = 'it sets no limit' if none else f"TensorRT's top-k ends at {MOST_TOPK}"
        raise DeployError(
            f'test_cfg.{name}={limit} cannot be exported: {state}.',
            expected=f'a number of boxes {most}',
            fix='set it with --cfg-options model.test_cfg..., and evaluate the checkpoint with it as well',
        )
    return limit


def check_suppressed(backend: Backend, levels: int, candidates: int, where: str) -> None:
    """Check that the backend's ``NonMaxSuppression`` considers every candidate. Only the native flavour uses it.

    Args:
        backend: The backend.
        levels: Number of levels of the feature pyramid.
        candidates: ``nms_pre``: the maximum number of boxes of a level.
        where: Place of ``nms_pre`` in the config.

    Raises:
        DeployError: If it would ignore some of them.
    """
    most = backend.most_suppressed
    if most is not None and levels * candidates > most:
        raise DeployError(
            f'{where}={candidates} on {levels} levels gives up to {levels * candidates} boxes. The suppression of '
            f'{backend.title} ignores all but {most} boxes of an image.',
            expected=f'{where} up to {most // levels}',
            fix=f'use --flavour portable, or --cfg-options {where}={most // levels}, and evaluate the checkpoint with '
            'it as well',
        )


@contextlib.contextmanager
def _tracing_paused() -> Iterator[None]:
    """Run operators without recording them, because one recorded node replaces them."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)


class NonMaxSuppression(torch.autograd.Function):
    """Greedy suppression in each class of each group, like mmcv, exported as one ``NonMaxSuppression`` node.

    Shape:
        boxes ``(G, N, 4)``, scores ``(G, C, N)`` -> ``(M, 3)`` int64: group, class and box of each kept box.
    """

    @staticmethod
    def forward(ctx, boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
        with _tracing_paused():
            rows = []
            for group, class_ in torch.cartesian_prod(*(torch.arange(n) for n in scores.shape[:2])).reshape(-1, 2):
                (candidates,) = torch.where(scores[group, class_] > score_threshold)
                if len(candidates):
                    kept = nms(boxes[group, candidates], scores[group, class_, candidates], iou_threshold)[1]
                    candidates = candidates[kept]
                rows.append(torch.stack([group.expand_as(candidates), class_.expand_as(candidates), candidates], dim=1))
            return torch.cat(rows)

    @staticmethod
    def symbolic(g, boxes, scores, iou_threshold: float, score_threshold: float):
        return g.op(
            'NonMaxSuppression',
            boxes,
            scores,
            g.op('Constant', value_t=torch.tensor([NO_LIMIT])),
            g.op('Constant', value_t=torch.tensor([iou_threshold], dtype=torch.float32)),
            g.op('Constant', value_t=torch.tensor([score_threshold], dtype=torch.float32)),
        )


def nms_scores(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
    """Scores after greedy non-maximum suppression, separately for each row of ``boxes`` and each class.

    Args:
        boxes: ``(G, N, 4)``, x1 y1 x2 y2.
        scores: ``(G, C, N)``: the score of each box in each of C classes.
        iou_threshold: A box is suppressed by a better one that overlaps it by more than this.
        score_threshold: Only boxes with a higher score take part.

    Returns:
        ``(G, C, N)``: the score where the box survives, -1 elsewhere.
    """
    chosen = NonMaxSuppression.apply(boxes, scores, iou_threshold, score_threshold)
    place = (chosen[:, 0] * scores.shape[1] + chosen[:, 1]) * scores.shape[2] + chosen[:, 2]
    flat = scores.reshape(-1)
    kept = torch.zeros_like(flat).scatter(0, place, torch.ones_like(place, dtype=flat.dtype))
    return torch.where(kept > 0, flat, torch.full_like(flat, -1.0)).reshape(scores.shape)


def top_boxes(boxes: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best boxes of each image. Unused rows (a score of 0 or below) are all zeros.

    Args:
        boxes: ``(B, N, 4)``.
        scores: ``(B, N)``.
        k: Maximum number of boxes.

    Returns:
        ``(B, min(k, N), 5)`` boxes with their score, and ``(B, min(k, N))`` their indices in N.
    """
    best, index = scores.topk(k, dim=1)
    boxes = boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    dets = torch.cat([boxes, best.unsqueeze(-1)], dim=-1)
    return dets * (best > 0).unsqueeze(-1).to(dets.dtype), index


def best_after_suppression(
    boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float, score_threshold: float, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``k`` best boxes that survive suppression in their class, in plain arithmetic.

    Only the :data:`CANDIDATES` best boxes are considered, in :data:`BLOCKS` blocks. Suppression goes from the best to
    the worst, so the other boxes cannot suppress any of these. The result is complete unless fewer than ``k`` of the
    candidates survive while there are more of them.

    Args:
        boxes: ``(B, N, 4)``.
        scores: ``(B, N)``.
        classes: ``(B, N)``.
        iou_threshold: A box is suppressed by a better one of its class that overlaps it by more than this.
        score_threshold: Only boxes with a higher score take part.
        k: Maximum number of boxes.

    Returns:
        ``(B, K, 5)`` boxes with their score, zeros if there are fewer; ``(B, K)`` classes; and ``(B,)`` float, 1 if the
        result is certain to equal greedy suppression.
    """
    number = (scores > score_threshold).to(scores.dtype).sum(1)
    # with as many rows of padding, the shapes of the blocks are fixed
    best, index = _padded(scores, -1.0, CANDIDATES).topk(CANDIDATES, dim=1)
    boxes = _padded(boxes, 0.0, CANDIDATES).gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    classes = _padded(classes, 0, CANDIDATES).gather(1, index)
    valid = best > score_threshold

    dets = torch.zeros_like(boxes[:, :1, :1]).expand(-1, k, 5)
    labels = torch.zeros_like(classes[:, :1]).expand(-1, k)
    exact, kept = torch.ones_like(number), torch.zeros_like(number)
    size = -(-CANDIDATES // BLOCKS)
    for start in range(0, CANDIDATES, size):
        block = slice(start, start + size)
        allowed = valid[:, block] & ~suppressed_by(
            dets[..., :4], boxes[:, block], iou_threshold, labels, classes[:, block]
        )
        keep, certain = suppress(boxes[:, block], allowed, iou_threshold, classes[:, block])
        # boxes after the k-th one do not matter
        enough = kept + (keep & certain).to(scores.dtype).sum(1) > k - 0.5
        exact = exact * torch.maximum(certain.to(scores.dtype).amin(1), enough.to(scores.dtype))
        survivors = torch.where(keep, best[:, block], -torch.ones_like(best[:, block]))
        dets, chosen = top_boxes(
            torch.cat([dets[..., :4], boxes[:, block]], dim=1), torch.cat([dets[..., 4], survivors], dim=1), k
        )
        labels = torch.cat([labels, classes[:, block]], dim=1).gather(1, chosen)
        kept = (dets[..., 4] > 0).to(scores.dtype).sum(1)
    complete = (number < CANDIDATES + 0.5) | (kept > k - 0.5)
    return dets, labels, exact * complete.to(scores.dtype)


def _padded(values: Tensor, value: float, rows: int) -> Tensor:
    """``(B, N, ...)`` followed by rows of ``value``."""
    row = torch.full_like(values[:, :1], value)
    return torch.cat([values, row.expand(-1, rows, *values.shape[2:])], dim=1)
