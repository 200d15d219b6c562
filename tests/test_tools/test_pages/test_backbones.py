"""Tables on the speed of the backbones say what the rows say."""

from mmtrtvit.latency import Latency
from mmtrtvit.measurement import measurement_row
from pages.backbones import blocks_table, changes_table, peers_table

LARGE = [1, 3, 800, 1344]


def row(name, values, **facts):
    """A measured row of a backbone, as ``tools/benchmark.py`` leaves it."""
    given = dict(
        family='trtvit',
        arch='a',
        origin='ours',
        backend='openvino',
        mode='plain',
        precision='fp32',
        device='cpu',
        device_name='A Processor',
        shape=[1, 3, 224, 224],
        threads=2,
        run='run',
        limit=dict(of='MatMul', macs_per_second=1e11, share=0.931),
        conditions=dict(load_average=0.5, busy=''),
        versions={'torch': '2.0'},
    )
    return measurement_row(Latency(name, 'backbone', values, {}), **{**given, **facts})


def cells(table):
    """The titles, and for each row its cells by title."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line[:1] == '|']
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_blocks_are_added_up_to_stages_with_their_share():
    extra = dict(
        parts_macs={'stem': 200_000_000, 'stage 1.0': 100_000_000, 'stage 1.1': 150_000_000, 'outputs': 0},
        operators_ms={
            'Convolution': 5.0,
            'FullyConnected': 2.5,
            'MVN': 0.5,
            'Transpose': 1.0,
            'Reorder': 0.5,
            'X': 0.75,
        },
    )
    parts = {'input': 0.5, 'stem': 4.0, 'stage 1.0': 2.0, 'stage 1.1': 3.0, 'outputs': 0.25}
    rows = [
        row('TRT-ViT-A', [30.0] * 4, parts_ms=parts, extra=extra),
        row('TRT-ViT-A', [40.0] * 4, backend='onnxruntime'),  # without parts
    ]
    (line,) = cells(blocks_table(dict(rows=rows)))
    assert (line['backbone'], line['input'], line['whole']) == ('TRT-ViT-A', '224x224', '30.0, 93%')
    assert (line['stem'], line['stage 1'], line['stage 2'], line['outputs']) == ('4.0, 50%', '5.0, 50%', '', '0.2')
    assert (line['products'], line['norms'], line['copies'], line['all others']) == ('7.5', '0.5', '1.5', '0.8')


def test_a_peer_is_the_same_network_in_the_same_run_and_backend():
    ours, theirs = dict(family='nextvit', arch='s'), dict(origin='timm', family=None, arch=None, source='nextvit_small')
    rows = [
        row('Next-ViT-S', [30.0] * 4, **ours),
        row('nextvit_small (timm)', [40.0] * 4, **theirs),
        row('Next-ViT-S', [99.0] * 4, **ours, backend='onnxruntime'),  # timm's was not measured in it
        row('TRT-ViT-A', [20.0] * 4),
        row('Next-ViT-S', [99.0] * 4, **ours, shape=LARGE, run='other'),
    ]
    (line,) = cells(peers_table(dict(rows=rows)))
    assert list(line.values()) == ['Next-ViT-S', '224x224', 'OpenVINO', '2', '30.0', '40.0', '0.75']


def test_changes_pair_the_rows_of_a_run():
    def changed(form, value, **facts):
        return row('TRT-ViT-A', [value] * 4, extra=dict(change='A change', form=form), **facts)

    rows = [changed('before', 40.0), changed('after', 30.0), changed('after', 10.0, run='other'), row('X', [1.0] * 4)]
    (line,) = cells(changes_table(dict(rows=rows)))
    assert list(line.values()) == ['A change', 'TRT-ViT-A', '224x224', 'OpenVINO', '40.0', '30.0', '0.750']


def test_nothing_is_made_of_no_rows():
    assert [make(dict(rows=[])) for make in (blocks_table, peers_table, changes_table)] == ['', '', '']
