"""tools/demo.py: its options reach the demonstration, and its exit status is the verdict."""

import pytest


@pytest.mark.parametrize('passed, status', [(True, 0), (False, 1)])
def test_options_and_verdict(load_tool, monkeypatch, passed, status):
    import mmtrtvit.apis.demo

    given = {}

    def pretend(**options):
        given.update(options)
        return {'parity': {'passed': passed}}

    monkeypatch.setattr(mmtrtvit.apis.demo, 'demo', pretend)
    monkeypatch.setattr('sys.argv', ['tools/demo.py', '--epochs', '1', '--train-images', '16', '--resume'])
    assert load_tool('demo').main() == status
    assert given == dict(
        config='configs/maskrcnn_trtvit_a_toy.py',
        deploy_cfg='configs/deploy/instance-seg_onnxruntime_dynamic.py',
        work_dir='work_dirs/demo',
        train_images=16,
        val_images=80,
        epochs=1,
        resume=True,
    )


def test_what_it_uses_by_default_is_there(root):
    assert (root / 'configs' / 'maskrcnn_trtvit_a_toy.py').is_file()
    assert (root / 'configs' / 'deploy' / 'instance-seg_onnxruntime_dynamic.py').is_file()


def test_input_that_cannot_be_used_ends_in_one_message(tool, root, tmp_path, monkeypatch):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', str(tmp_path / 'data'))
    outcome = tool('demo', '--train-images', '0', '--work-dir', tmp_path / 'demo', '--config', root / 'none.py')
    assert 'train is 0' in outcome.message
    assert not (tmp_path / 'data' / 'toy').exists() and not (tmp_path / 'demo').exists()
