"""Tables of the code say what is counted, beside what is published."""

import pytest

from mmtrtvit.report.published import Published
from mmtrtvit.zoo.complexity import backbone_complexity, network_complexity
from mmtrtvit.zoo.configs import network_config
from mmtrtvit.zoo.families import FAMILIES
from pages import counted as module
from pages.counted import (
    imagenet_table,
    misprints,
    networks_table,
    results_table,
    rules_table,
    sizes_table,
    stages_table,
    zoo_table,
)


def cells(table, row):
    return [cell.strip() for cell in table.splitlines()[row + 2].strip('|').split('|')]


@pytest.fixture(scope='module')
def published(request):
    return Published.read(request.config.rootpath)


def test_sizes_are_counted_and_marked(published):
    table = sizes_table(published, 'trtvit')
    a, c = cells(table, 0), cells(table, 2)
    counted = backbone_complexity('a')
    assert a[4] == f'{counted.params / 1e6:.1f} / {counted.total_macs / 1e9:.2f}'
    assert a[1:4] == ['128 256 512 1024', '2 3 12 6', 'C-C-C-M']
    assert a[6:] == ['none', 'own choice']
    assert c[5:] == ['67.3 / 5.90', '67.3 / 5.9 [1] (r)', 'reconstructed']
    assert f'[1] *Published*: {published.sources["nextvit-imagenet"]["text"]}' in table
    assert '(r): recalled' in table


@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_has_its_table_of_sizes(published, family):
    table, archs = sizes_table(published, family), FAMILIES[family].archs
    assert [cells(table, row)[0] for row in range(len(archs))] == [FAMILIES[family].name(arch) for arch in archs]
    assert cells(table, 0)[-1] == FAMILIES[family].origin(archs[0])


def test_where_no_totals_are_published_there_are_none(published):
    row = cells(results_table(published, 'efficientformer', ('maskrcnn',)), 0)
    assert row == [
        'EfficientFormer-L1 [1]',
        'Mask R-CNN',
        '1x',
        '- / -',
        '37.9',
        '60.3',
        '41.0',
        '35.4',
        '57.3',
        '37.3',
    ]


def test_published_results(published):
    table = results_table(published, 'trtvit', ('maskrcnn', 'retinanet'))
    assert cells(table, 0)[:4] == ['TRT-ViT-C [1]', 'Mask R-CNN', '1x', '86.3 / 294']
    assert cells(table, 0)[4:] == ['44.7', '66.9', '48.8', '40.8', '63.9', '44.0']
    assert cells(table, 1)[0] == 'TRT-ViT-D [2] (r)' and 'from memory' in table
    table = results_table(published, 'nextvit', ('semfpn', 'upernet'))
    assert cells(table, 0) == ['Next-ViT-S [1]', 'Semantic FPN', '80k', '36.3 / 208', '46.5', '']
    assert cells(table, 3)[4:] == ['48.1', '49.0']
    assert '(r)' not in table


@pytest.fixture
def one_family(monkeypatch, published):
    """Next-ViT alone, in figures and in code: few networks to count."""
    monkeypatch.setattr(module, 'FAMILIES', {'nextvit': FAMILIES['nextvit']})


def test_totals_stand_beside_the_published_ones(root, published, one_family):
    table = networks_table(root, published, 'semfpn')
    config = network_config(root, 'semfpn', 'nextvit', 'l')
    network = network_complexity(config)
    params = network.trained_params + 1025 * 1000  # the classifier that is not used
    assert cells(table, 2) == [
        'Next-ViT-L [1]',
        f'{network.params / 1e6:.1f}',
        f'{params / 1e6:.1f}',
        '62.4',
        f'{params / 62.4e6 - 1:+.1%}',
        f'{network.total_macs / 1e9:.1f}',
        f'{(network.total_macs - network.attention_macs) / 1e9:.1f}',
        '331 (misprint)',
        f'{(network.total_macs - network.attention_macs) / 331e9 - 1:+.1%}',
    ]
    assert 'misprint' not in table.splitlines()[3]
    assert '331 G is printed, 311 G is counted' in misprints(root, published)

    table = imagenet_table(published)
    assert [cells(table, row)[:3] for row in range(2)] == [
        ['Next-ViT-S [1]', '224 x 224', 'published'],
        ['Next-ViT-S [1]', '384 x 384', 'published'],
    ]


@pytest.mark.parametrize('method', ['fasterrcnn', 'retinanet'])
def test_nothing_is_published_of_the_borrowed_methods(root, published, one_family, method):
    row = cells(networks_table(root, published, method), 0)
    assert (row[3], row[4], row[7], row[8]) == ('none', '', 'none', '')


def test_rules_name_what_is_skipped(root):
    table = rules_table(root)
    maskrcnn, upernet = cells(table, 0), cells(table, 4)
    assert maskrcnn[1] == '1280x800' and '`roi_head.bbox_head` (1000 RoIs)' in maskrcnn[2]
    assert maskrcnn[4] == 'stem and stage 1' and upernet[4] == 'nothing'
    assert '`auxiliary_head`' in upernet[3] and '`auxiliary_head`' not in upernet[2]
    assert '`native_layer_norm`' in table and '`convolution`' not in table


def test_zoo_has_a_row_for_each_config(root, published):
    table = zoo_table(root, published, 'trtvit')
    paths = {path.name for path in (root / 'configs').glob('*_trtvit_*') if not path.stem.endswith('_toy')}
    paths -= {'maskrcnn_trtvit_d_resnet-init_coco.py'}  # the network of another config, started from other weights
    rows = [cells(table, row) for row in range(len(paths))]
    assert {row[0] for row in rows} == {f'`configs/{name}`' for name in paths}
    by_name = {row[0].strip('`').removeprefix('configs/'): row for row in rows}
    assert by_name['maskrcnn_trtvit_c_coco.py'][1:4] == ['TRT-ViT-C', 'Mask R-CNN', '1x']
    assert by_name['maskrcnn_trtvit_c_coco.py'][7].startswith('box AP 44.7, mask AP 40.8 [')
    assert by_name['maskrcnn_trtvit_c_3x_coco.py'][7] == 'none'
    assert by_name['upernet_trtvit_d_ade20k.py'][7].endswith('(r)')
    assert {row[6] for row in rows} == {'adapted'}
    assert cells(zoo_table(root, published, 'nextvit'), 0)[6] == 'published'


def test_stages():
    table = stages_table()
    row = cells(table, 0)
    assert row[0] == 'TRT-ViT-A' and len(row) == 7
    assert '`gelu`' in table and '`native_layer_norm`' in table
