"""Claims held against rows: decided only where the figures differ by more than their spread."""

import json
import math

import pytest

from mmtrtvit.errors import DataError
from mmtrtvit.measurement import append_row
from mmtrtvit.study.guidelines import (
    CLAIMS,
    GUIDELINES,
    NOT_SUPPORTED,
    QUANTITIES,
    SUPPORTED,
    UNDECIDED,
    accuracy_of,
    findings,
    judge,
    median_interval,
    runs_of,
    tera,
)
from mmtrtvit.study.networks import NETWORKS
from mmtrtvit.study.page import study_guidelines
from mmtrtvit.study.tables import study_page


@pytest.mark.parametrize(
    ('low', 'high', 'verdict'),
    [
        (-2.0, -1.0, SUPPORTED),
        (1.0, 2.0, NOT_SUPPORTED),
        (-1.0, 1.0, UNDECIDED),
        (0.0, 0.0, UNDECIDED),
        (-math.inf, math.inf, UNDECIDED),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side(low, high, verdict):
    assert judge(low, high) == verdict


def test_the_interval_of_a_median_is_that_of_the_binomial_distribution():
    assert median_interval(range(30)) == (9, 20)  # from tables: the 10th and 21st value of 30
    assert median_interval([3, 1, 2, 5, 4, 6]) == (1, 6)
    assert median_interval([1, 2, 3]) == (-math.inf, math.inf)


def test_every_claim_is_about_what_is_measured():
    blocks = {f'{name}, stage {n}' for name in ('BottleNeck', 'Transformer', 'MixBlockC') for n in (1, 2, 3, 4)}
    assert {claim.guideline for claim in CLAIMS} == set(GUIDELINES)
    for claim in CLAIMS:
        assert claim.quantity in QUANTITIES
        assert set(claim.less) | set(claim.more) <= blocks | set(NETWORKS)


def test_densities_are_counts_over_the_latency(measured):
    row = measured('x', 10.0, macs=5 * 10**9, params=10**7)
    assert tera(row, 'macs') == pytest.approx(0.5)  # 5 G in 10 ms are 500 G a second
    assert tera(row, 'params') == pytest.approx(0.001)


def verdict_of(rows, text, accuracy=()):
    (found,) = (f for f in findings(rows, accuracy) if f.claim.text == text)
    return found


def test_latency_decides_round_by_round(measured):
    def verdict(mixed, spread, shift):
        rows = [measured('MixNetV', 10.0, spread=spread), measured('MixNetC', mixed, spread=spread, shift=shift)]
        found = verdict_of(rows, 'MixNetC is faster than MixNetV')
        assert found.where == 'OpenVINO fp32, batch 1, 224 pixels'
        assert (found.less.value, found.more.value) == pytest.approx((mixed, 10.0))
        return found.verdict

    assert verdict(9.0, 0.01, 3) == SUPPORTED
    assert verdict(11.0, 0.01, 3) == NOT_SUPPORTED
    assert verdict(9.0, 0.5, 3) == UNDECIDED
    assert verdict(9.0, 0.5, 0) == SUPPORTED  # both drift alike: the ratio is steady


def test_no_slower_means_within_the_slack(measured):
    def verdict(refined):
        rows = [measured('ResNet', 10.0), measured('Refined-ResNet', refined)]
        return verdict_of(rows, 'Refined-ResNet is no slower than ResNet').verdict

    assert (verdict(10.4), verdict(10.6)) == (SUPPORTED, NOT_SUPPORTED)


def test_a_claim_about_a_ratio_compares_ratios(measured):
    rows = [
        measured(f'{name}, stage {stage}', ms, 'block', 0.3, macs=10**9)
        for name, stage, ms in (
            ('BottleNeck', 1, 1.0),
            ('Transformer', 1, 10.0),
            ('BottleNeck', 4, 2.0),
            ('Transformer', 4, 4.0),
        )
    ]
    found = next(f for f in findings(rows) if len(f.claim.less) == 2)
    assert (found.less.value, found.more.value) == (pytest.approx(0.1), pytest.approx(0.5))
    assert found.less.spread == pytest.approx(0) and found.verdict == SUPPORTED and 'pixels' not in found.where


def test_rounds_before_the_steady_ones_do_not_count(measured):
    rows = [measured('MixNetV', 10.0), measured('MixNetC', 9.0)]
    rows[1].update(values_ms=[99.0] * 6 + [9.0] * 12, first_counted=6)
    rows[0].update(values_ms=[10.0] * 18, first_counted=0)
    found = verdict_of(rows, 'MixNetC is faster than MixNetV')
    assert (found.verdict, found.less.value) == (SUPPORTED, 9.0)
    rows[0].update(values_ms=[10.0] * 6)  # it stepped out before: all rounds that both have
    assert verdict_of(rows, 'MixNetC is faster than MixNetV').less.value == 99.0


def test_rows_are_compared_within_one_run(measured):
    rows = [measured('MixNetV', 10.0, run='1'), measured('MixNetC', 9.0, run='2')]
    assert not [f for f in findings(rows) if f.claim.text == 'MixNetC is faster than MixNetV']
    larger = [measured(name, 20.0, run='3') for name in ('MixNetV', 'MixNetC')]
    assert runs_of([*rows, *larger], 'backbone') == [larger]
    other = [measured(name, 20.0, run='4', shape=[8, 3, 224, 224]) for name in ('MixNetV', 'MixNetC')]
    assert runs_of([*larger, *other], 'backbone') == [larger, other]


def test_accuracy_decides_only_beyond_the_spread_of_the_seeds(trained):
    def verdict(resnet, mixed):
        rows = [
            trained(name, *run) for name, runs in (('ResNet', resnet), ('MixNetV', mixed)) for run in enumerate(runs)
        ]
        (found,) = (f for f in findings([], rows) if f.claim.text == 'MixNetV is more accurate than ResNet')
        return found.verdict

    assert verdict([60, 61, 62], [70, 71, 72]) == SUPPORTED
    assert verdict([70, 71, 72], [60, 61, 62]) == NOT_SUPPORTED
    assert verdict([60, 65, 70], [62, 67, 75]) == UNDECIDED
    assert verdict([60], [90]) == UNDECIDED  # one run has no spread
    assert verdict([65, 65, 65], [65.2, 65.2, 65.2]) == UNDECIDED  # less than one image


def test_the_spread_of_accuracy_is_that_of_students_interval(trained):
    figure = accuracy_of([trained('ResNet', seed, top1) for seed, top1 in enumerate([60.0, 62.0, 64.0])])
    assert figure.value == 62.0 and figure.spread == pytest.approx(2.78 * 2.0 / math.sqrt(3))


def test_recipes_are_not_mixed(trained):
    rows = [trained('ResNet', seed, 60.0 + seed) for seed in range(3)]
    other = dict(rows[0]['recipe'], epochs=2)
    rows += [trained('MixNetV', seed, 80.0 + seed, recipe=other) for seed in range(3)]
    assert not findings([], rows)


@pytest.fixture
def study_rows(measured):
    names = [f'{name}, stage {stage}' for name in ('BottleNeck', 'Transformer', 'MixBlockC') for stage in (1, 4)]
    blocks = [measured(name, 5.0 + place, 'block') for place, name in enumerate(names)]
    return [*blocks, *(measured(name, 20.0 + place) for place, name in enumerate(('ResNet', 'MixNetV', 'MixNetC')))]


def test_the_page_has_every_table_and_the_plot(study_rows, trained, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    for row in study_rows:
        append_row(row, tmp_path / 'rows.jsonl')
    accuracy = tmp_path / 'study_accuracy.json'
    accuracy.write_text(json.dumps(dict(rows=[trained('ResNet', 0, 60.0), trained('MixNetV', 0, 70.0)])))
    page = study_guidelines([tmp_path / 'rows.jsonl'], accuracy, tmp_path / 'out')
    text = page.read_text()
    for title in (
        'Blocks, batch 1',
        'Networks of the paper, 1x3x224x224',
        'Accuracy from scratch, insects',
        'Guidelines',
    ):
        assert f'## {title}\n' in text
    assert '| BottleNeck | 1 | 256 x 56 x 56 | 2.00 | 1.000 | 5.00 / 5.00 | 0.2 | 0.0004 |' in text
    assert '60.0 (one run)' in text and '243 photographs' in text
    assert (tmp_path / 'out' / 'study.png').stat().st_size > 10_000
    assert 'supported' in capsys.readouterr().out


def test_networks_alone_make_a_page(study_rows):
    text = study_page([row for row in study_rows if row['scope'] == 'backbone'])
    assert '## Blocks' not in text and '## Networks' in text and '## Accuracy' not in text


def test_files_without_rows_of_the_study_are_refused(measured, tmp_path):
    with pytest.raises(DataError, match='(?s)There is no file.*Fix: '):
        study_guidelines([tmp_path / 'none.jsonl'], out=tmp_path / 'out')
    append_row(measured('TRT-ViT-A', 1.0, extra={}), tmp_path / 'other.jsonl')
    with pytest.raises(DataError, match='(?s)has no rows of the study.*Fix: '):
        study_guidelines([tmp_path / 'other.jsonl'], out=tmp_path / 'out')
    append_row(measured('MixNetC', 1.0), tmp_path / 'rows.jsonl')
    with pytest.raises(DataError, match='(?s)no rows of the training.*Fix: '):
        study_guidelines([tmp_path / 'rows.jsonl'], tmp_path / 'none.json', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
