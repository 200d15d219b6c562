"""What all tests share: where real data may lie, and tests that skip, saying why, where they cannot run."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

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


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs data or a GPU that is not here."""
    reasons = {}
    if not (REAL_DATA / 'coco').is_dir():
        reasons['realdata'] = f'no real data at {REAL_DATA} (set MMTRTVIT_REAL_DATA)'
    if any(item.get_closest_marker('gpu') for item in items) and not _has_gpu():
        reasons['gpu'] = 'torch sees no CUDA GPU'
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
