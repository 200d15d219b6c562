"""Rows of proofs: what is kept, and what stands in the row of a conversion that ended with a message."""

import pytest

from mmtrtvit.benchmark import proofs
from mmtrtvit.benchmark.proofs import proof_row
from mmtrtvit.errors import DeployError

ABOUT = dict(family='trtvit', backend='tensorrt-rtx', precision='fp16', images=4)


def test_a_message_without_the_folders_of_this_machine(monkeypatch, tmp_path):
    def deploy(config, checkpoint, *, work_dir, **options):
        assert options['precision'] == 'fp16' and options['images'] == 4
        raise DeployError(f'{work_dir / "end2end.onnx"} cannot be built.', expected='another graph')

    monkeypatch.setattr(proofs, 'deploy', deploy)
    row = proof_row(ABOUT, 'a.py', 'a.pth', tmp_path, shapes=None, timed=False, cfg_options=None)
    assert row == {**ABOUT, 'error': 'end2end.onnx cannot be built.\nExpected: another graph'}


def test_other_errors_are_not_hidden(monkeypatch, tmp_path):
    def deploy(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(proofs, 'deploy', deploy)
    with pytest.raises(ZeroDivisionError):
        proof_row(ABOUT, 'a.py', 'a.pth', tmp_path, shapes=None, timed=False, cfg_options=None)
