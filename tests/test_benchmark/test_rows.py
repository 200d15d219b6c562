"""The folder of a benchmark: rows of several runs share a file, and a folder that cannot be written is told at once."""

import json

import pytest

from mmtrtvit.benchmark.rows import Results
from mmtrtvit.errors import ConfigError, DataError

KEY = ('network', 'precision')


def test_rows_are_added_or_take_the_place_of_those_of_the_same_key(tmp_path):
    Results(tmp_path / 'out', 'proofs').add(dict(network='a', precision='fp32', ms=3), KEY)
    Results(tmp_path / 'out', 'proofs').add(dict(network='a', precision='int8', ms=2), KEY)
    result = Results(tmp_path / 'out', 'proofs').add(dict(network='a', precision='fp32', ms=1), KEY)
    assert {(row['precision'], row['ms']) for row in result['rows']} == {('fp32', 1), ('int8', 2)}
    assert len(result['rows']) == 2 and result['machine'][0]['processor']
    assert json.loads((tmp_path / 'out' / 'proofs.json').read_text()) == result


def test_lines_are_shown_with_where_the_rows_are(tmp_path, capsys):
    results = Results(tmp_path / 'out', 'proofs')
    results.show(['a: 1 ms', '[b]: 2 ms'])
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ['a: 1 ms', '[b]: 2 ms']
    assert told[2] == f'Rows: {tmp_path / "out" / "proofs.json"}' and 'tools/dev/update_pages.py --rows' in told[3]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='cannot be written'):
        Results(tmp_path / 'file' / 'out', 'proofs')


def test_rows_that_are_no_rows_are_refused(tmp_path):
    results = Results(tmp_path, 'proofs')
    results.path.write_text('{"rows": [')
    with pytest.raises(DataError, match='is not JSON'):
        results.add(dict(network='a', precision='fp32'), KEY)
    assert results.path.read_text() == '{"rows": ['
