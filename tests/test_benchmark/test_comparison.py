"""All families side by side: the run on small networks, the table, the plot, and what they say without rows."""

import copy
import json

import pytest
from PIL import Image

from mmtrtvit.benchmark import backbone_complexity, backbones, documents
from mmtrtvit.benchmark.backbones import benchmark_comparison, measure_backbones
from mmtrtvit.benchmark.plots import digest_of, draw_comparison, drawn_from, pareto_front
from mmtrtvit.benchmark.published import Published
from mmtrtvit.benchmark.rows import COMPARED
from mmtrtvit.benchmark.tables import comparison_table, with_published
from mmtrtvit.errors import ConfigError, DataError, DeployError
from mmtrtvit.models import NextViT, TRTViT
from mmtrtvit.zoo.families import FAMILIES

SMALL = {
    'trtvit': (
        TRTViT,
        dict(widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'), provenance='own choice'),
    ),
    'nextvit': (
        NextViT,
        dict(
            widths=(32, 32, 64, 64),
            ntb_widths=(128, 128, 128, 128),
            depths=(1, 2, 1, 1),
            block_types=('C', 'CT', 'C', 'C'),
            provenance='own choice',
        ),
    ),
}


@pytest.fixture(scope='module')
def published(request):
    return Published.read(request.config.rootpath)


@pytest.fixture(scope='module')
def outcome(tmp_path_factory, request):
    out = tmp_path_factory.mktemp('comparison')
    with pytest.MonkeyPatch.context() as patch:
        for model, settings in SMALL.values():
            patch.setitem(model.arch_settings, 'small', settings)
        result = benchmark_comparison(
            list(SMALL),
            ['small'],
            out,
            request.config.rootpath,
            size=64,
            batch=2,
            threads=1,
            warmup_runs=1,
            warmup_seconds=0.0,
            min_runs=3,
            min_seconds=0.0,
        )
    backbone_complexity.cache_clear()
    return result, out


def test_every_family_runs_in_both_runtimes(outcome):
    result, out = outcome
    assert json.loads((out / 'comparison.json').read_text()) == result
    expected = [(family, 'small', runtime) for family in SMALL for runtime in ('ONNX Runtime', 'OpenVINO')]
    assert [(row['family'], row['arch'], row['runtime']) for row in result['latency']] == expected
    assert [(row['family'], row['arch'], row['runtime']) for row in result['difference']] == expected
    for row in result['latency']:
        assert (row['kind'], row['scope'], row['shape'], row['runs']) == ('measured', 'backbone', '2x3x64x64', 3)
        assert row['machine']['torch_threads'] == 1
        assert {'torch', 'onnxruntime', 'openvino', 'mmtrtvit'} <= row['versions'].keys()
    for row in result['difference']:
        assert 0 < row['relative'] < 1e-4
    macs = [row['macs'] for row in result['complexity']]
    assert len(set(macs)) == 2 and all(value > 0 for value in macs)
    assert (out / 'comparison.md').read_text().startswith('| backbone |')


def test_the_plot_of_a_run_carries_its_digest(outcome, published):
    result, out = outcome
    assert drawn_from(out / 'comparison.png') == digest_of(with_published(result, published))
    with Image.open(out / 'comparison.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 20


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(families=['resnet']), '--families resnet is unknown.*trtvit'),
        (dict(archs=['xxl']), "arch='xxl' is a size of no family.*'l1'"),
        (dict(families=['nextvit'], archs=['d']), "arch='d'.*'b', 'l', 's'"),
        (dict(size=0), '--size 0'),
        (dict(threads=0), '--threads 0'),
    ],
)
def test_bad_input(settings, message, tmp_path, root):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_comparison(out=tmp_path / 'out', root=root, **settings)
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_is_no_checkout_is_noticed_before_anything_is_measured(tmp_path):
    with pytest.raises(DataError, match='published.yaml'):
        benchmark_comparison(out=tmp_path / 'out', root=tmp_path)


def test_a_missing_runtime_is_one_message(monkeypatch):
    def absent(name, *args, **kwargs):
        raise DeployError(f'{name} is not installed.')

    monkeypatch.setattr('mmtrtvit.runtime.backends.open_session', absent)
    monkeypatch.setattr(backbones, 'BACKENDS', {'OpenVINO': 'json'})
    monkeypatch.setattr(backbones, '_MODULES', ())
    monkeypatch.setattr(json, '__version__', '1', raising=False)
    monkeypatch.setitem(TRTViT.arch_settings, 'small', SMALL['trtvit'][1])
    with pytest.raises(DeployError, match='json is not installed'):
        measure_backbones([('trtvit', 'small')], ['OpenVINO'], size=64)


# --- table and plot of rows that are written here ---------------------------------------------------------------------


def row(family, arch, runtime, values):
    return dict(
        name=f'{family}-{arch} {runtime}',
        family=family,
        arch=arch,
        runtime=runtime,
        scope='backbone',
        values=values,
        shape='1x3x224x224',
        precision='fp32',
        runs=len(values),
        load_average=0.5,
        machine=dict(processor='A Processor', torch_threads=2),
        versions={'openvino': '1.0'},
    )


@pytest.fixture
def result():
    return dict(
        latency=[
            row('nextvit', 's', 'ONNX Runtime', [30.0, 30.0, 60.0]),
            row('nextvit', 's', 'OpenVINO', [10.0, 10.1, 10.2]),
            row('trtvit', 'a', 'ONNX Runtime', [5.0, 5.0, 5.0]),
            row('trtvit', 'a', 'OpenVINO', [10.0, 10.0, 10.0]),
        ],
        complexity=[dict(family=family, arch=arch, macs=2e9) for family, arch in (('nextvit', 's'), ('trtvit', 'a'))],
        difference=[dict(relative=1e-6), dict(relative=3e-6)],
    )


def lines(table):
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line[:1] == '|']
    return {row[0]: row[1:] for row in rows[2:]}


def test_every_size_of_every_family_has_a_line(published, result):
    found = lines(comparison_table(published, result))
    assert list(found) == [family.name(arch) for family in FAMILIES.values() for arch in family.archs]
    assert all(len(cells) == 8 for cells in found.values())
    counted = backbone_complexity('s', family='nextvit')
    origin, params, macs, top1, tensorrt, first, second, gain = found['Next-ViT-S']
    assert (origin, top1.split()[0], tensorrt) == ('published', '82.5', '7.7')
    assert (params, macs) == (f'{counted.params / 1e6:.1f}', f'{counted.total_macs / 1e9:.2f}')
    # The ratio is the median of 3, 2.97 and 5.88, not the ratio of the medians.
    assert (first, second, gain) == ('30.0 / 54.0 (u)', '10.1 / 10.2', '3.00')
    assert found['TRT-ViT-A'][3:] == ['none', 'none', '5.0 / 5.0', '10.0 / 10.0', '0.50']
    assert found['TRT-ViT-C'][0] == 'reconstructed' and found['TRT-ViT-C'][3].endswith('(r)')
    assert found['TRT-ViT-C'][5:] == ['', '', '']  # not in this run


def test_the_conditions_are_said(published, result):
    table = comparison_table(published, result, '../images/x.png')
    for said in ('3 rounds on A Processor (2 threads, load average 0.5', 'openvino 1.0', '3.0e-06', 'unsteady'):
        assert said in table
    assert '](../images/x.png)' in table and 'No run' not in table
    assert published.sources['nextvit-readme']['text'] in table
    result['latency'] = result['latency'][2:]
    assert 'unsteady' not in comparison_table(published, result)


def test_without_rows_nothing_measured_is_shown(published):
    table = comparison_table(published, None, 'x.png')
    assert 'No run is recorded yet: `python tools/benchmark.py comparison`' in table
    assert 'p50' not in table and 'x.png' not in table
    assert lines(table)['Next-ViT-S'][3].startswith('82.5')
    assert {len(cells) for cells in lines(table).values()} == {5}


def test_published_accuracy_is_taken_from_its_file(published, result):
    annotated = with_published(result, published)
    expected = dict(family='nextvit', arch='s', kind='published', top1=82.5)
    assert annotated['published'] == [expected]  # of TRT-ViT-A none is published
    assert 'published' not in result


def test_pareto_front():
    points = [(3, 80.0), (1, 70.0), (2, 75.0), (2.5, 74.0), (4, 80.0), (3, 79.0), (1, 69.0)]
    assert pareto_front(points) == [(1, 70.0), (2, 75.0), (3, 80.0)]
    assert pareto_front([]) == []


@pytest.mark.parametrize('accuracy', [True, False], ids=['with accuracy', 'without'])
def test_the_plot_shows_what_the_rows_say(published, result, tmp_path, monkeypatch, accuracy):
    from matplotlib.axes import Axes

    drawn, plot = [], Axes.plot
    monkeypatch.setattr(Axes, 'plot', lambda axis, *args, **kwargs: drawn.append(args) or plot(axis, *args, **kwargs))
    rows = with_published(result, published)
    rows = rows if accuracy else {**rows, 'published': []}
    draw_comparison(rows, tmp_path / 'x.png')
    nextvit, trtvit = ([82.5], []) if accuracy else ([], [])
    assert [(list(x), list(y)) for x, y, *_ in drawn if len(x)][:2] == [([30.0], [2.0]), ([5.0], [2.0])]
    assert [list(y) for _, y, *_ in drawn].count(nextvit) >= (len(COMPARED) if accuracy else 0)
    other = copy.deepcopy(rows)
    other['latency'][0]['values'] = [1.0, 1.0, 1.0]
    assert drawn_from(tmp_path / 'x.png') == digest_of(rows) != digest_of(other)


def test_the_page_and_its_picture_follow_the_rows(tmp_path, root, monkeypatch, result, published):
    (tmp_path / 'docs' / 'results').mkdir(parents=True)
    (tmp_path / 'docs' / 'results' / 'published.yaml').write_text((root / 'docs/results/published.yaml').read_text())
    page = tmp_path / 'docs' / 'comparison.md'
    page.write_text('<!-- table: comparison -->\n<!-- end table -->\n')
    monkeypatch.setattr(documents, 'metafiles', lambda root: {})
    documents.update_documents(tmp_path)
    assert 'No run is recorded' in page.read_text()
    picture = tmp_path / 'docs' / 'images' / 'comparison.png'
    assert not picture.exists()

    (tmp_path / 'docs' / 'results' / 'comparison.json').write_text(json.dumps(result))
    assert documents.update_documents(tmp_path, check=True) == [page, picture]
    documents.update_documents(tmp_path)
    assert '](images/comparison.png)' in page.read_text() and '30.0 / 54.0 (u)' in page.read_text()
    assert drawn_from(picture) == digest_of(with_published(result, published))
    assert documents.update_documents(tmp_path, check=True) == []
