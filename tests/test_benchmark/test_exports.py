"""The plain export of mmdeploy against ours: what a run on small networks gives, and what the table says of rows."""

import functools
import json
import sys

import onnx
import pytest
import torch
from mmengine.structures import InstanceData

from mmtrtvit.apis import load_config
from mmtrtvit.benchmark import exports
from mmtrtvit.benchmark.exports import Export, Network, benchmark_exports, make_exports, measure_exports
from mmtrtvit.benchmark.plain_export import export_plainly
from mmtrtvit.benchmark.tables import exports_table
from mmtrtvit.benchmark.tables.exports import PLAIN
from mmtrtvit.deploy import conversion
from mmtrtvit.deploy.proof.images import sample_images
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.runtime.backends import open_session

QUICK = dict(images=2, threads=1, warmup_runs=1, warmup_seconds=0.0, min_runs=3, min_seconds=0.0)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(methods=['yolo']), 'There is no config of yolo on trtvit.*maskrcnn'),
        (dict(archs=['z']), 'There is no config of maskrcnn on trtvit z.*a b c d'),
        (dict(family='resnet'), 'There is no config of maskrcnn on resnet.*nextvit'),
        (dict(size=0), '--size 0'),
        (dict(images=0), '--images 0'),
        (dict(threads=-1), '--threads -1'),
    ],
    ids=str,
)
def test_bad_input(root, tmp_path, options, message):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_exports(root, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def network(toy_seg):
    return Network(dict(family='trtvit', method='semfpn', arch='a'), load_config(toy_seg.config), toy_seg.checkpoint)


@pytest.fixture(scope='module')
def made(network, tmp_path_factory):
    """The exports of a small segmentor; and how many nodes there were before anything was folded."""
    unfolded = []

    def simplify(real, path):
        unfolded.append(len(onnx.load(path).graph.node))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, 'simplify', functools.partial(simplify, conversion.simplify))
        found = list(make_exports(network, sample_images(network.config, 1)[0], tmp_path_factory.mktemp('exports')))
    return {export.name: export for export in found}, unfolded


def test_nodes_are_those_of_the_files(made):
    found, unfolded = made
    assert list(found) == ['native', PLAIN]  # of segmentors the portable flavour is the same
    graphs = {name: onnx.load(export.path).graph for name, export in found.items()}
    assert not any(attribute.HasField('g') for g in graphs.values() for node in g.node for attribute in node.attribute)
    assert found[PLAIN].facts['nodes'] == len(graphs[PLAIN].node) and found[PLAIN].facts['folded'] is None
    assert [found['native'].facts['nodes']] == unfolded
    assert found['native'].facts['folded'] == len(graphs['native'].node) < unfolded[0]


def test_the_plain_export_is_without_our_rewriters(made):
    found, _ = made
    models = {name: onnx.load(export.path) for name, export in found.items()}
    operators = {name: {node.op_type for node in model.graph.node} for name, model in models.items()}
    assert 'LayerNormalization' in operators['native'] and 'LayerNormalization' not in operators[PLAIN]
    assert 'Constant' in operators[PLAIN]  # nothing was folded
    for name, model in models.items():
        assert found[name].facts['opset'] == model.opset_import[0].version
    # torch says itself that 13 is the first with what the backbone needs
    assert models[PLAIN].opset_import[0].version == 13
    assert 'version 13' in found[PLAIN].facts['refused']['11']


@pytest.fixture
def files(made, monkeypatch):
    """The exports that were made, in place of new ones."""
    found, _ = made
    monkeypatch.setattr(exports, 'make_exports', lambda *_: iter(found.values()))
    return found


def test_every_export_runs_in_both_runtimes(network, files):
    rows = measure_exports([network], **QUICK)
    runs = [(name, runtime) for name in files for runtime in ('ONNX Runtime', 'OpenVINO')]
    assert [(row['export'], row['runtime']) for row in rows] == runs
    for row in rows:
        assert (row['kind'], row['runs'], row['machine']['torch_threads']) == ('measured', 3, 1)
        assert row['versions']['mmdeploy'] and row['shape'].startswith('1x3x')
        traced, others = row['parity']['traced'], row['parity']['others']
        assert traced['images'] == others['images'] == 1 and traced['agreement'] > 0.999
        if row['export'] == 'native':
            assert others['agreement'] > 0.999
    text = exports_table({'rows': json.loads(json.dumps(rows))})
    assert f'| {files[PLAIN].facts["nodes"]} |' in text and 'opset 11 (UnsupportedOperatorError' in text


def test_an_export_that_finds_something_else_is_said_to(network, files):
    class Negated:
        def __init__(self, session):
            self.inputs, self.outputs = session.inputs, session.outputs
            self.run = session.run

        def __call__(self, feeds):
            return {name: -value for name, value in self.run(feeds).items()}

    compared = exports._Compared(network, 2)
    found = compared(Negated(open_session('onnxruntime', files['native'].path)))
    assert found['traced']['agreement'] < 0.5 and found['others']['agreement'] < 0.5
    assert exports._Compared(network, 1)(open_session('onnxruntime', files['native'].path))['others'] is None


@pytest.mark.parametrize(('moved', 'ties'), [(2, 2), (30, 0)])
def test_few_near_ties_are_said_and_many_are_none(moved, ties):
    corners = torch.arange(100.0)[:, None] * 50
    boxes = torch.cat([corners, corners, corners + 40, corners + 40], dim=1)
    scores = torch.linspace(0.9, 0.2, 100)
    other = boxes.clone()
    other[:moved, 3] -= 4  # as a border in the wrong place does: the score stays
    pair = [
        InstanceData(bboxes=found, scores=scores, labels=torch.zeros(100, dtype=torch.long)) for found in (boxes, other)
    ]
    found = exports._parity([tuple(pair)])
    assert (found['same'], found['ties'], found['detections']) == (100 - moved, ties, 100)


def test_what_does_not_run_is_a_row_with_its_message(network, files, tmp_path, monkeypatch):
    broken = tmp_path / 'broken.onnx'
    model = onnx.load(files[PLAIN].path)
    model.opset_import.append(onnx.helper.make_opsetid('mmdeploy', 1))
    model.graph.node[0].domain, model.graph.node[0].op_type = 'mmdeploy', 'Unknown'
    onnx.save(model, broken)
    plain = Export(PLAIN, broken, files[PLAIN].facts)
    monkeypatch.setattr(exports, 'make_exports', lambda *_: iter([files['native'], plain]))
    rows = measure_exports([network], **QUICK)
    for row in rows[2:]:
        assert 'Unknown' in row['error'] and 'values' not in row and row['nodes'] == plain.facts['nodes']
        assert '\n' not in row['error'] and str(tmp_path) not in row['error']
    assert all('values' in row for row in rows[:2])

    ours = Export('native', broken, files['native'].facts)
    monkeypatch.setattr(exports, 'make_exports', lambda *_: iter([ours]))
    with pytest.raises(DeployError, match='Unknown'):  # of ours it is no result but a defect
        measure_exports([network], **QUICK)


def test_what_cannot_be_exported_plainly_is_a_row_with_its_message(network, tmp_path, monkeypatch):
    refused = {'11': 'one: other', '17': 'RuntimeError: no such operator'}
    monkeypatch.setattr(exports, 'export_plainly', lambda *_: dict(opset=None, refused=refused))
    monkeypatch.setattr(exports, 'export_onnx', lambda *_: (5, 3))
    image = sample_images(network.config, 1)[0]
    *_, plain = make_exports(network, image, tmp_path)
    assert plain.facts['error'] == 'not exported: RuntimeError: no such operator' and plain.facts['nodes'] is None


def test_a_process_that_dies_is_one_message(network, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'executable', 'false')
    with pytest.raises(DeployError, match='status 1: it said nothing'):
        export_plainly(network.config, network.config, network.checkpoint, tmp_path / 'x.png', tmp_path / 'x.onnx')


def test_the_plain_export_of_a_detector_with_masks(toy, toy_checkpoint, tmp_path):
    config = load_config(toy.config)
    path = tmp_path / 'plain.onnx'
    found = export_plainly(config, exports.plain_deploy_config(config.model), toy_checkpoint, toy.images[0], path)
    assert found['opset'] == 13
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert {'RoiAlign', 'NonMaxSuppression'} <= operators and 'LayerNormalization' not in operators


# --- the table of rows that are written here --------------------------------------------------------------------------


def row(export, runtime, method='retinanet', **changes):
    return {
        **dict(family='trtvit', method=method, arch='a', export=export, runtime=runtime, images=4, shape='1x3x8x8'),
        **dict(opset=17, nodes=100, folded=None if export == PLAIN else 60, scope='network', precision='fp32', runs=3),
        **dict(load_average=0.5, machine=dict(processor='A Processor', torch_threads=2)),
        'versions': {'torch': '2.0', 'mmdeploy': '1.3.1'},
        **changes,
    }


def parity(**found):
    traced = dict(detections=100, same=100, ties=0, extra=0)
    return dict(traced=traced, others={**traced, **found} if found else None)


@pytest.fixture
def rows():
    pixels = dict(pixels=1000, agreement=0.9999999)
    return [
        row('native', 'OpenVINO', 'semfpn', values=[2.0], parity=dict(traced=pixels, others=dict(pixels, agreement=1))),
        row('portable', 'OpenVINO', values=[20.0, 20.0, 20.0], parity=parity(same=99, ties=1)),
        row('native', 'OpenVINO', values=[10.0, 10.0, 20.0], parity=parity()),
        row(PLAIN, 'OpenVINO', values=[30.0, 10.0, 50.0], parity=parity(same=37, extra=12), refused={'11': 'No. Way'}),
        row('native', 'ONNX Runtime', values=[5.0, 5.0, 5.0], parity=parity()),
        row(PLAIN, 'ONNX Runtime', error='It lacks an operator.', nodes=321),
    ]


def lines(table):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line[:1] == '|'][2:]


def test_the_table_says_what_the_rows_say(rows):
    table = exports_table({'rows': rows})
    found = lines(table)
    assert [line[:3] for line in found] == [
        ['RetinaNet, TRT-ViT-A', PLAIN, 'ONNX Runtime'],
        ['RetinaNet, TRT-ViT-A', 'native', 'ONNX Runtime'],
        ['RetinaNet, TRT-ViT-A', PLAIN, 'OpenVINO'],
        ['RetinaNet, TRT-ViT-A', 'native', 'OpenVINO'],
        ['RetinaNet, TRT-ViT-A', 'portable', 'OpenVINO'],
        ['Semantic FPN, TRT-ViT-A', 'native', 'OpenVINO'],
    ]
    assert {len(line) for line in found} == {10}
    assert found[0][3:] == ['17', '321', '', 'It lacks an operator.', '', '', '']
    assert found[1][3:] == ['17', '100', '60', '100 of 100', '', '5.0 / 5.0', '']  # nothing plain to compare with
    assert found[2][6:] == ['100 of 100', '37 of 100, 12 extra', '30.0 / 46.0 (u)', '']
    # The ratio is the median of 3, 1 and 2.5, not the ratio of the medians.
    assert found[3][8:] == ['10.0 / 18.0 (u)', '2.50']
    assert found[4][6:] == ['100 of 100', '99 of 100, 1 near ties', '20.0 / 20.0', '1.50']
    assert found[5][6:8] == ['99.999 % of pixels', '100.000 % of pixels']
    for said in (
        'mmdeploy 1.3.1',
        'dynamo=False',
        'opset 11 (No)',
        '*Measured*',
        '3 rounds on A Processor',
        '4 images',
    ):
        assert said in table
    assert 'unsteady' in table and 'unsteady' not in exports_table({'rows': rows[4:]})


def test_without_rows_the_command_is_named():
    assert 'tools/benchmark.py exports' in exports_table(None)
