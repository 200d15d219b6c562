"""tools/visualize.py, browse_dataset.py and confusion_matrix.py: options arrive, and bad input ends in one message."""

import pytest

CALLS = {
    'visualize': (
        'mmtrtvit.visualization',
        ['c.py', 'x.pth', '--out', 'o'],
        dict(config='c.py', checkpoint='x.pth', out='o', images=None, number=8, score_thr=0.3, allow_mismatch=False),
        ['--images', 'a.jpg', 'b', '--number', '3', '--score-thr', '0.5', '--allow-mismatch'],
        dict(images=['a.jpg', 'b'], number=3, score_thr=0.5, allow_mismatch=True),
    ),
    'browse_dataset': (
        'mmtrtvit.visualization',
        ['c.py', '--out', 'o'],
        dict(config='c.py', out='o', split='train', number=16, seed=0),
        ['--split', 'val', '--number', '3', '--seed', '7'],
        dict(split='val', number=3, seed=7),
    ),
    'confusion_matrix': (
        'mmtrtvit.apis',
        ['c.py', 'x.pkl', '--out', 'o'],
        dict(config='c.py', source='x.pkl', out='o', score_thr=0.3, iou_thr=0.5),
        ['--score-thr', '0.1', '--iou-thr', '0.7'],
        dict(score_thr=0.1, iou_thr=0.7),
    ),
}
FUNCTIONS = {'visualize': 'visualize', 'browse_dataset': 'browse', 'confusion_matrix': 'confusion_matrix'}


@pytest.mark.parametrize('name', CALLS)
def test_options_arrive(load_tool, monkeypatch, capsys, name):
    import importlib

    package, args, defaults, more, changed = CALLS[name]
    given = {}

    class Nothing(list):
        unit = 'boxes'

        def worst(self):
            return [('disc', 'ring', 3, 0.25)]

    def pretend(**options):
        given.clear()
        given.update(options)
        return Nothing()

    monkeypatch.setattr(importlib.import_module(package), FUNCTIONS[name], pretend)
    common = dict(variants=[], cfg_options=None)
    monkeypatch.setattr('sys.argv', [name, *args])
    assert load_tool(name).main() == 0
    assert given == {**defaults, **common}
    monkeypatch.setattr('sys.argv', [name, *args, *more, '--variant', 'slide', '--cfg-options', 'a.b=1'])
    assert load_tool(name).main() == 0
    assert given == {**defaults, **changed, 'variants': ['slide'], 'cfg_options': {'a.b': 1}}
    if name == 'confusion_matrix':
        assert 'disc' in capsys.readouterr().out


def test_pictures_are_announced(tool, toy_seg, tmp_path):
    outcome = tool('visualize', toy_seg.config, toy_seg.checkpoint, '--out', tmp_path / 'a', '--number', '1')
    assert outcome.status == 0 and f'1 pictures in {tmp_path / "a"}' in outcome.out
    outcome = tool('browse_dataset', toy_seg.config, '--out', tmp_path / 'b', '--number', '1')
    assert outcome.status == 0 and str(tmp_path / 'b' / 'train_01.png') in outcome.out
    assert (tmp_path / 'b' / 'train_01.png').is_file()


def test_input_that_cannot_be_used(tool, toy_seg, tmp_path):
    out = ['--out', tmp_path / 'out']
    message = tool('visualize', toy_seg.config, toy_seg.checkpoint, *out, '--images', tmp_path / 'none.jpg').message
    assert 'none.jpg' in message and '--images' in message
    message = tool('visualize', toy_seg.config.with_name('tiny_sag.py'), 'x.pth', *out).message
    assert 'tiny_seg.py' in message
    root = 'train_dataloader.dataset.data_root=/no/such/root'
    assert '/no/such/root' in tool('browse_dataset', toy_seg.config, *out, '--cfg-options', root).message
    assert 'There is no file' in tool('confusion_matrix', toy_seg.config, tmp_path / 'none.pkl', *out).message
    assert not (tmp_path / 'out').exists()
