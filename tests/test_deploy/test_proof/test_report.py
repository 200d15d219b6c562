"""The page beside an engine says everything that the data says, and says so where something was not measured."""

import copy
import json
import math
import re

import pytest

from mmtrtvit.deploy.proof.detection_parity import DetectionParity
from mmtrtvit.deploy.proof.differences import Difference
from mmtrtvit.deploy.proof.proof import Metric, Proof
from mmtrtvit.deploy.proof.prove import SCOPE
from mmtrtvit.deploy.proof.report import to_markdown
from mmtrtvit.deploy.proof.segmentation_parity import ClassPixels, SegmentationParity
from mmtrtvit.deploy.proof.tolerance import Tolerance
from mmtrtvit.latency import Latency

ARTEFACT = dict(
    method='MaskRCNN',
    backend='tensorrt-rtx',
    flavour='portable',
    precision='fp16',
    source=dict(model_config='maskrcnn_tiny.py', checkpoint='epoch_7.pth', checkpoint_sha256='0123456789abcdef' * 4),
    inputs=dict(input=dict(dtype='float', shape=['batch', 3, 832, 1344])),
    operators=dict(Conv=53, LayerNormalization=4),
    processor=dict(name='A CPU', features=['avx2', 'avx512f']),
)
DETECTIONS = DetectionParity(
    images=7,
    detections=461,
    same=457,
    ties=3,
    extra=2,
    usable=211,
    usable_same=209,
    boxes=Difference(1828, 1.25, 0.0313, 0.0171, 0.0207, 0.000311, 0.000203, 0.99987),
    scores=Difference(457, 0.00911, 0.000612, 0.000413, 0.0517, 0.00131, 0.000907, 0.99991),
    labels=Difference(461, 0.0, 0.0, 0.0),
    masks=Difference(457, 0.0814, 0.00215, 0.00104),
    tolerance=Tolerance.of('fp16'),
)
SETTINGS = dict(image='427x640', batch=1, precision='fp16', device='cuda', threads=2)


def latency(theirs=(*[11.0] * 8, 11.2, 14.0)):
    ours = [*[51.3] * 8, 51.5, 58.0]
    return [Latency('PyTorch', SCOPE, ours, SETTINGS), Latency('artefact', SCOPE, [*theirs], SETTINGS)]


def report_of(parity=DETECTIONS, metrics=None, exact=None, rows=(), precision=None, **parts):
    metrics = {name: Metric(*figures) for name, figures in (metrics or {}).items()}
    proof = Proof('end2end.engine on the GPU', 'fp16', parity, metrics, exact, list(rows), threads=2)
    report = dict(
        artefact=copy.deepcopy(ARTEFACT),
        proof=proof.to_dict(),
        graph=dict(nodes_before=811, nodes=634),
        precision=precision or dict(summary='127 nodes'),
        engine_bytes=98_765_432,
        engine=None,
        versions=dict(torch='2.9.1', onnx='1.19.0'),
    )
    return {**report, **parts}


def cells(page):
    """Every cell of every table."""
    return {cell.strip() for line in page.splitlines() if line.startswith('|') for cell in line.split('|')}


def test_the_verdict_stands_at_the_top():
    assert to_markdown(report_of()).splitlines()[0] == '# MaskRCNN, tensorrt-rtx, fp16: PASS'
    page = to_markdown(report_of(metrics={'coco/bbox_mAP': (0.4, 0.3)}, exact=0.5))
    first, _, second, _, third, *_ = page.splitlines()
    assert first.endswith(': FAIL')
    assert second.startswith('- coco/bbox_mAP drops: from 0.4 -> 0.3, limit 0.005 less. Next: ') and third.startswith(
        '- the selection of boxes was not'
    )


def test_what_was_exported_is_told():
    page = to_markdown(report_of())
    assert (
        'All figures here are *measured*, on end2end.engine on the GPU, with 2 threads on A CPU (avx2, avx512f).'
        in page
    )
    assert {
        'maskrcnn_tiny.py',
        'epoch_7.pth (0123456789ab)',
        'tensorrt-rtx, portable, fp16',
        '127 nodes',
        'batchx3x832x1344',
        '811 / 634',
        '98.8 MB',
    } <= cells(page)
    assert '`Conv` 53, `LayerNormalization` 4' in page and 'torch 2.9.1, onnx 1.19.0' in page
    assert 'size of the engine' not in to_markdown(report_of(engine_bytes=0))


def test_every_figure_of_the_detections_is_on_the_page():
    found = cells(to_markdown(report_of()))
    assert {'7', '461', '457', '3', '2', '209 of 211'} <= found
    for output in (DETECTIONS.boxes, DETECTIONS.scores, DETECTIONS.labels, DETECTIONS.masks):
        assert {f'{value:.3g}' for value in vars(output).values() if isinstance(value, float)} <= found
        assert str(output.values) in found


def test_every_figure_of_the_label_maps_is_on_the_page():
    logits = Difference.of([1.0, -2.0, 3.5], [1.25, -2.0, 3.25])
    parity = SegmentationParity(3, 5000, 4987, {0: ClassPixels(5000, 5000, 4987)}, logits, Tolerance.of('fp16'))
    page = to_markdown(report_of(parity))
    assert {'3', '4987 of 5000 (99.7400%)'} <= cells(page)
    names = ('values', 'max', 'mean', 'median', 'max_relative', 'mean_relative', 'cosine')
    assert {f'{getattr(logits, name):.3g}' for name in names} <= cells(page)
    without = to_markdown(report_of(SegmentationParity(3, 5000, 4987, {}, None, Tolerance.of('fp16'))))
    assert 'logits' not in without and '4987 of 5000' in without
    parity.not_finite = 77
    assert '| logits that are infinite or not a number | 77 |' in to_markdown(report_of(parity))


def test_metrics_of_both_and_their_difference():
    page = to_markdown(report_of(metrics={'coco/bbox_mAP': (0.4123, 0.4101, (-0.01, 0.014)), 'mIoU': (45.21, 45.3)}))
    assert '| coco/bbox_mAP | 0.4123 | 0.4101 | +0.0022 | -0.0100 to +0.0140 |' in page
    assert '| mIoU | 45.2100 | 45.3000 | -0.0900 |  |' in page
    assert page.splitlines()[0].endswith(': UNDECIDED')
    assert page.splitlines()[2].startswith('- coco/bbox_mAP may drop: from 0.4123 -> 0.4101')


def test_a_metric_that_is_no_number_is_shown_as_such():
    page = to_markdown(report_of(metrics={'coco/bbox_mAP_l': (0.4, math.nan)}))
    assert '| coco/bbox_mAP_l | 0.4000 | nan | +nan |  |' in page


def test_what_was_not_measured_is_said():
    page = to_markdown(report_of())
    assert re.search(r'## Accuracy\n\nNot measured', page) and re.search(r'## Latency\n\nNot measured', page)
    assert 'certain to be the greedy one' not in page and '## The engine' not in page
    assert 'in FP32 by the search' not in page and '## Tensors' not in page


def test_latency_with_its_scope():
    rows = latency()
    page = to_markdown(report_of(rows=rows))
    for row in rows:
        figures = (row.median, row.quantile(0.9), row.quantile(0.99))
        assert f'| {row.name} | {" | ".join(f"{figure:.1f}" for figure in figures)} | 10 |' in page
    assert f'Scope: {SCOPE}; image 427x640, both on cuda, 2 threads; PyTorch / artefact = 4.66.' in page
    assert 'Unsteady' not in page and 'Unsteady' in to_markdown(
        report_of(rows=latency([8.0, 11.0, 19.0, 11.0, 30.0] * 2))
    )


def test_the_portable_selection():
    assert 'the greedy one in 85.7% of the images' in to_markdown(report_of(exact=6 / 7))


TENSOR = dict(
    layer='/backbone/conv/Conv',
    operator='Conv',
    tensor='out',
    dtype='float16',
    largest=812.5,
    max_error=0.371,
    max_relative=0.000457,
    mean_relative=0.000218,
    snr_db=61.7,
    overflow=0,
    not_finite=0,
    comparable=True,
)


def test_tensors_in_another_precision():
    behind = {**TENSOR, 'layer': '/behind/a/TopK', 'comparable': False}
    tensors = dict(tensors=[TENSOR, behind], of=143, feeds=1, method='Emulated so and so.')
    page = to_markdown(report_of(precision=dict(summary='127 nodes', tensors=tensors)))
    assert '| /backbone/conv/Conv | Conv | float16 | 812 | 0.371 | 0.000218 | 61.7 |' in page
    assert 'The worst of 143, over 1 images. Emulated so and so.' in page
    assert '/behind/a/TopK' not in page  # its values are of other boxes


@pytest.mark.parametrize('met, said', [(True, 'meets'), (False, 'does NOT meet')])
def test_a_search(met, said):
    added = [dict(block='/head/fc', reason='error 0.3 in it')]
    search = dict(met=met, error=0.0173, tolerance=0.02, evaluations=23, added=added)
    page = to_markdown(report_of(precision=dict(summary='127 nodes', search=search)))
    assert f'outputs, 0.0173, {said} the tolerance of 0.02 after 23 evaluations' in page
    assert '| /head/fc | error 0.3 in it |' in page
    nothing = to_markdown(report_of(precision=dict(summary='127 nodes', search={**search, 'added': []})))
    assert '| none |  |' in nothing


def test_the_page_of_the_engine_is_a_part_of_it():
    assert '## The engine\n\n| kind | 3 |' in to_markdown(report_of(), '| kind | 3 |')


def test_the_page_can_be_made_of_the_file():
    """What comes back from JSON gives the same page as what went into it."""
    report = report_of(metrics={'coco/bbox_mAP': (0.41, 0.409)}, exact=1.0, rows=latency())
    assert to_markdown(json.loads(json.dumps(report))) == to_markdown(report)


def test_tables_are_whole():
    """Every row of a table has as many cells as its header."""
    page = to_markdown(report_of(metrics={'coco/bbox_mAP': (0.41, 0.409)}, exact=1.0, rows=latency()))
    tables = re.findall(r'(?:^\|.*\n?)+', page, re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        widths = {line.count('|') for line in table.strip().splitlines()}
        assert len(widths) == 1 and re.match(r'\| ---( \| ---:)* \|$', table.splitlines()[1])
