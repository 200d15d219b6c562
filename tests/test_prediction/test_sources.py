"""Sources: every kind of them gives its images, and names that do not collide."""

import os

import cv2
import numpy as np
import pytest

from mmtrtvit.errors import DataError
from mmtrtvit.prediction import find_items
from mmtrtvit.prediction.sources import Skipped, SourceImage, count_frames, reading_tasks, video_frames

from .conftest import write_video


def names(*args, **options):
    return [item.name for item in find_items(*args, **options)]


def test_a_folder(images):
    (images / 'notes.txt').write_text('not an image')
    (images / '.hidden.png').write_bytes(b'')
    assert names(images) == ['a.jpg', 'a.png', 'b']
    assert names(images, recursive=True) == ['a.jpg', 'a.png', 'b', 'below/a', 'below/c']
    (images / 'below' / 'a.jpg').rename(images / 'A.JPG')
    assert names(images) == ['A.JPG', 'a.jpg_2', 'a.png', 'b']  # one file on some file systems


def test_results_within_the_folder_are_left_out(images):
    assert names(images, recursive=True, out=images / 'below') == ['a.jpg', 'a.png', 'b']


def test_a_pattern(images):
    assert names(images / '*.png') == ['a', 'b']
    assert names(images / '**' / 'a.*') == ['a.jpg', 'a.png', 'below/a']


def test_a_file_whose_name_is_a_pattern(images):
    (images / 'b.png').rename(images / 'b[1].png')
    assert [item.path for item in find_items(images / 'b[1].png')] == [str(images / 'b[1].png')]


def test_a_list(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (images / 'list.txt').write_text('a.jpg\n\nbelow/a.jpg\nimages/b.png\n a.jpg \nnone.jpg\n')
    items = find_items(images / 'list.txt')
    assert [os.path.relpath(item.path, images) for item in items] == ['a.jpg', 'below/a.jpg', 'b.png', 'none.jpg']
    assert [item.name for item in items] == ['a', 'below/a', 'b', 'none']
    assert [item.file for item in items] == ['a.jpg', 'below/a.jpg', 'b.png', 'none.jpg']


def test_a_link_to_an_image_is_the_same_image(images):
    (images / 'z.png').symlink_to(images / 'b.png')
    assert len(find_items(images)) == 3


def test_cameras_and_streams(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [camera] = find_items('0')
    assert camera.is_live and camera.name == 'camera_0' and count_frames(camera) is None
    [stream] = find_items('rtsp://user:secret@host:554/door/1')
    assert stream.is_live and stream.name == 'host_554_door_1'  # without the password
    (tmp_path / '7').mkdir()
    (tmp_path / '7' / 'a.png').write_bytes(b'')
    assert not find_items('7')[0].is_video  # a folder of this name


@pytest.mark.parametrize('source', ['none.jpg', 'none/*.jpg', 'none', ''])
def test_nothing(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match='There is no .*\nExpected: .*\nFix: '):
        find_items(source)


def test_an_empty_folder_and_an_empty_list(tmp_path):
    with pytest.raises(DataError, match='no image and no video in the folder .*(\n.*)*--recursive'):
        find_items(tmp_path)
    (tmp_path / 'list.txt').write_text('\n')
    with pytest.raises(DataError, match='is empty'):
        find_items(tmp_path / 'list.txt')
    (tmp_path / 'list.txt').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataError, match='cannot be read'):
        find_items(tmp_path / 'list.txt')


def test_every_frame_of_a_video(tmp_path):
    path = write_video(tmp_path / 'a.mp4')
    [item] = find_items(path)
    frames = list(video_frames(item))
    assert count_frames(item) == 30
    assert [image.frame for image in frames] == list(range(30)) and frames[0].rate == 10
    assert frames[7].name == 'a/000007' and frames[7].pixels.shape == (48, 64, 3)
    brightness = [image.pixels[2:6, 2:6].mean() for image in frames]
    assert np.all(np.diff(brightness[5:]) > 0)
    every = list(video_frames(item, stride=7))
    assert [image.frame for image in every] == [0, 7, 14, 21, 28] and every[0].rate == pytest.approx(10 / 7)
    np.testing.assert_array_equal(every[2].pixels, frames[14].pixels)


def damaged(path, start, length):
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


def test_broken_frames_are_named_and_the_rest_is_there(tmp_path):
    path = write_video(tmp_path / 'a.avi', 60, 'MJPG')
    size = path.stat().st_size
    damaged(path, size // 2, size // 12)
    found = list(video_frames(find_items(path)[0]))
    lost = [entry for entry in found if isinstance(entry, Skipped)]
    there = [entry.frame for entry in found if isinstance(entry, SourceImage)]
    assert lost and 40 <= len(there) < 60 and len(there) + sum(entry.number for entry in lost) == 60
    assert there == sorted(there)


def test_only_frames_that_are_wanted_are_missed(monkeypatch, tmp_path):
    class Damaged:
        """12 frames, of which 3 to 6 cannot be decoded."""

        def __init__(self, source):
            self.frame = -1

        def isOpened(self):
            return True

        def get(self, what):
            return 12.0 if what == cv2.CAP_PROP_FRAME_COUNT else 25.0

        def grab(self):
            self.frame += 1
            return self.frame < 12 and not 3 <= self.frame <= 6

        def read(self):
            return self.grab(), np.zeros((4, 4, 3), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(cv2, 'VideoCapture', Damaged)
    (tmp_path / 'a.mp4').write_bytes(b'')
    found = list(video_frames(find_items(tmp_path / 'a.mp4')[0], stride=4))
    assert [entry.frame if isinstance(entry, SourceImage) else entry.title[-7:] for entry in found] == [0, 'frame 4', 8]


def test_a_video_that_was_cut_off(tmp_path):
    path = write_video(tmp_path / 'a.avi', 60, 'MJPG')
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    *there, last = video_frames(find_items(path)[0])
    assert 20 < len(there) < 45 and all(isinstance(entry, SourceImage) for entry in there)
    assert 'says that it has 60 frames' in last.reason and last.number == 60 - len(there)


def test_a_file_that_is_not_a_video(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'no video')
    [entry] = video_frames(find_items(tmp_path / 'a.mp4')[0])
    assert 'cannot be opened' in entry.reason


def test_a_camera_ends_when_it_gives_nothing_more(monkeypatch, tmp_path):
    class Camera:
        def __init__(self, source):
            assert source == 0
            self.left = 3

        def isOpened(self):
            return True

        def get(self, _):
            return 0.0

        def read(self):
            self.left -= 1
            return self.left >= 0, np.zeros((4, 4, 3), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    frames = list(video_frames(find_items('0')[0]))
    assert [(image.frame, image.rate) for image in frames] == [(0, 25.0), (1, 25.0), (2, 25.0)]


def test_files_that_are_not_images(images):
    (images / 'b.png').write_bytes(b'')
    (images / 'a.jpg').write_bytes((images / 'a.jpg').read_bytes()[:-2])
    found = [task() for task in reading_tasks(find_items(images))]
    assert [type(entry) for entry in found] == [Skipped, SourceImage, Skipped]
    assert found[2].title == str(images / 'b.png') and 'cannot be read' in found[2].reason
    assert found[0].reason.endswith('cannot be read: it is cut off.')
