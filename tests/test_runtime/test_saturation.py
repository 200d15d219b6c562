"""An INT8 artefact that was proved on a CPU with VNNI warns on one without."""

import warnings

import pytest

from mmtrtvit.processor import processor, saturates
from mmtrtvit.runtime import load, predictor
from mmtrtvit.runtime.manifest import read_manifest, write_manifest
from tests.fixtures.tiny_artefacts import make_detector

VNNI, PLAIN, ARM = ['avx2', 'avx512f', 'avx512_vnni'], ['avx2', 'avx512f'], ['asimddp']


def test_which_cpus_saturate():
    assert [saturates(features) for features in (VNNI, PLAIN, ARM, [], ['avx2', 'avx_vnni'])] == [
        *(False, True, False, False, False)
    ]
    assert processor()['name']


@pytest.mark.parametrize(
    'precision, proved_on, here, warned',
    [
        ('int8', VNNI, PLAIN, True),
        ('int8', VNNI, VNNI, False),
        ('int8', PLAIN, PLAIN, False),  # its proof has seen it
        ('int8', VNNI, ARM, False),
        ('fp32', VNNI, PLAIN, False),
        ('int8', None, PLAIN, False),  # an older artefact does not tell
    ],
)
def test_who_is_warned(tmp_path, monkeypatch, precision, proved_on, here, warned):
    make_detector(tmp_path)
    content = {k: v for k, v in read_manifest(tmp_path).items() if k not in ('format', 'versions', 'files')}
    content |= dict(precision=precision)
    if proved_on is not None:
        content |= dict(processor=dict(name='the first', features=proved_on))
    write_manifest(tmp_path, content)
    monkeypatch.setattr(predictor, 'processor', lambda: dict(name='the second', features=here))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        load(tmp_path)
    said = [str(warning.message) for warning in caught if 'VNNI' in str(warning.message)]
    assert len(said) == warned and all('the second' in text and 'Fix: ' in text for text in said)
