"""What all tests share: where real data may lie, and tests that skip, saying why, where they cannot run."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytest_plugins = [f'tests.fixtures.{name}' for name in ('toy', 'artefact', 'networks', 'plain', 'fresh')]

# COCO and ADE20K subsets beside the checkout, or wherever the variable says.
REAL_DATA = Path(os.environ.get('MMTRTVIT_REAL_DATA', ROOT.parent / 'shared' / 'data'))


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder with real data in ``coco/`` and ``ade/``, for tests marked ``realdata``."""
    return REAL_DATA


@pytest.fixture(scope='session', autouse=True)
def configs_are_written_without_being_laid_out() -> Iterator[None]:
    """Save the second that YAPF takes whenever a run writes its config down: four times each."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec('yapf'):
            patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, False))
        yield


@pytest.fixture(autouse=True)
def children_that_end_interrupt_nothing() -> Iterator[None]:
    """Take back the handler of ended children that PyTorch's data loader leaves in the process for good.

    With it, and after hundreds of tests with several native libraries, a child that ended while its parent waited
    brought the parent down by SIGSEGV, in ``poll``: the kernel could not deliver the signal.
    """
    yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs data, a GPU or another implementation that is not here."""
    reasons = {}
    if not (REAL_DATA / 'coco').is_dir():
        reasons['realdata'] = f'no real data at {REAL_DATA} (set MMTRTVIT_REAL_DATA)'
    if any(item.get_closest_marker('gpu') for item in items) and not _has_gpu():
        reasons['gpu'] = 'torch sees no CUDA GPU'
    if importlib.util.find_spec('timm') is None:
        reasons['reference'] = 'no reference implementation in this environment (make parity runs this test)'
    if importlib.util.find_spec('mmpretrain') is None:
        reasons['pretrain'] = 'no mmpretrain in this environment (make parity runs this test)'
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
