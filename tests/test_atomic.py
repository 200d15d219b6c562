"""Files and folders that appear whole or not at all."""

import os
import stat

import pytest

from mmtrtvit.atomic import atomic_dir, atomic_file, atomic_files


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


class Interrupted(BaseException):
    """As KeyboardInterrupt, no Exception."""


# --- one file -----------------------------------------------------------------------------------------------


def test_file_appears_when_the_block_is_done(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'table.json'
    with atomic_file(path) as temporary:
        temporary.write_text('content')
        assert not path.exists()
        assert temporary.parent == path.parent, 'a rename is atomic on one file system only'
        assert temporary.suffix == '.json'
    assert path.read_text() == 'content'
    assert tree(path.parent) == ['table.json']


@pytest.mark.parametrize('error', [ValueError, Interrupted])
@pytest.mark.parametrize('before', [None, 'old'])
def test_file_is_as_before_when_the_block_fails(tmp_path, error, before):
    path = tmp_path / 'table.json'
    if before:
        path.write_text(before)
    with pytest.raises(error), atomic_file(path) as temporary:
        temporary.write_text('half')
        raise error
    assert tree(tmp_path) == (['table.json'] if before else [])
    assert not before or path.read_text() == before


def test_file_is_replaced(tmp_path):
    path = tmp_path / 'table.json'
    path.write_text('old')
    with atomic_file(str(path)) as temporary:
        temporary.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert tree(tmp_path) == ['table.json']


@pytest.mark.parametrize('umask', [0o022, 0o077])
def test_file_has_the_mode_of_any_other(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_file(tmp_path / 'ours') as temporary:
            temporary.write_text('x')
        (tmp_path / 'theirs').write_text('x')
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('ours', 'theirs')}
    assert modes == {0o666 & ~umask}


# --- a folder -----------------------------------------------------------------------------------------------


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_folder_appears_when_the_block_is_done(tmp_path):
    path = tmp_path / 'new' / 'data'
    with atomic_dir(path) as temporary:
        fill(temporary, 'a/b', 'c')
        assert not path.exists()
    assert tree(path.parent) == ['data', 'data/a', 'data/a/b', 'data/c']
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / 'data'
    fill(path, 'old/file')
    with atomic_dir(str(path)) as temporary:
        fill(temporary, 'new')
        assert tree(path) == ['old', 'old/file']
    assert tree(tmp_path) == ['data', 'data/new']


@pytest.mark.parametrize('error', [ValueError, Interrupted])
@pytest.mark.parametrize('before', [False, True])
def test_folder_is_as_before_when_the_block_fails(tmp_path, error, before):
    path = tmp_path / 'data'
    if before:
        fill(path, 'old')
    with pytest.raises(error), atomic_dir(path) as temporary:
        fill(temporary, 'half')
        raise error
    assert tree(tmp_path) == (['data', 'data/old'] if before else [])


# --- files into a folder that holds others ------------------------------------------------------------------


def test_files_appear_when_the_block_is_done(tmp_path):
    folder = tmp_path / 'out'
    fill(folder, 'other', 'net.onnx', 'manifest.json')
    with atomic_files(folder, last='manifest.json') as temporary:
        (temporary / 'net.onnx').write_text('new')
        (temporary / 'manifest.json').write_text('new')
        assert (folder / 'net.onnx').read_text() == 'net.onnx'
    assert tree(folder) == ['manifest.json', 'net.onnx', 'other']
    assert [(folder / name).read_text() for name in tree(folder)] == ['new', 'new', 'other']


def test_files_are_as_before_when_the_block_fails(tmp_path):
    fill(tmp_path, 'net.onnx', 'manifest.json')
    with pytest.raises(Interrupted), atomic_files(tmp_path, last='manifest.json') as temporary:
        fill(temporary, 'half')
        raise Interrupted
    assert tree(tmp_path) == ['manifest.json', 'net.onnx']
    assert (tmp_path / 'manifest.json').read_text() == 'manifest.json'


def test_files_of_an_earlier_time_go(tmp_path):
    """Unless there is a new one, the block fails, or it is a folder."""
    fill(tmp_path, 'old', 'both', 'manifest', 'notes', 'folder/inside')
    obsolete = ['old', 'both', 'gone', 'folder']
    with pytest.raises(Interrupted), atomic_files(tmp_path, last='manifest', obsolete=obsolete):
        raise Interrupted
    assert tree(tmp_path) == ['both', 'folder', 'folder/inside', 'manifest', 'notes', 'old']
    with atomic_files(tmp_path, last='manifest', obsolete=obsolete) as temporary:
        fill(temporary, 'both', 'new', 'manifest')
    assert tree(tmp_path) == ['both', 'folder', 'folder/inside', 'manifest', 'new', 'notes']


def test_the_last_file_is_never_beside_files_of_another_run(tmp_path, monkeypatch):
    """Stopped between two moves, there is no manifest rather than a manifest of other files."""
    fill(tmp_path, 'a', 'z', 'manifest')
    path_type = type(tmp_path)
    seen = []
    replace = path_type.replace

    def watched(path, target):
        seen.append((path.name, (tmp_path / 'manifest').exists()))
        return replace(path, target)

    monkeypatch.setattr(path_type, 'replace', watched)
    with atomic_files(tmp_path, last='manifest') as temporary:
        fill(temporary, 'a', 'z', 'manifest')
    assert sorted(seen[:2]) == [('a', False), ('z', False)] and seen[2:] == [('manifest', False)]
    assert tree(tmp_path) == ['a', 'manifest', 'z']
