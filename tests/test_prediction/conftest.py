"""Tiny artefacts, and images and videos to predict on."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx writes the networks of these tests')

from mmtrtvit.runtime import Predictor, load
from tests.fixtures.tiny_artefacts import make_classifier, make_detector, make_segmentor


@pytest.fixture(scope='session')
def artefact(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of the tiny network of a task."""
    made: dict[str, Path] = {}

    def make(task: str) -> Path:
        if task not in made:
            folder = tmp_path_factory.mktemp('tiny') / task
            makers = dict(segmentation=make_segmentor, classification=make_classifier, detection=make_detector)
            made[task] = makers[task](folder) if task in makers else make_detector(folder, masks=True)
        return made[task]

    return make


@pytest.fixture(scope='session')
def tiny(artefact) -> Callable[[str], Predictor]:
    """The tiny network of a task, loaded."""
    return lambda task: load(artefact(task), threads=1)


def random_image(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    """An image of a colour of its own, with noise."""
    numbers = np.random.default_rng(seed)
    colour = numbers.integers(30, 226, 3)
    return (colour + numbers.integers(-30, 30, (height, width, 3))).astype(np.uint8)


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder with images of several formats and sizes, in two folders with a name in common."""
    folder = tmp_path / 'images'
    for seed, name in enumerate(['a.jpg', 'a.png', 'b.png', 'below/a.jpg', 'below/c.bmp']):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), random_image(seed, 40 + seed, 60))
    return folder


def write_video(path: Path, number: int = 30, code: str = 'mp4v', rate: float = 10) -> Path:
    """A video whose frames get brighter."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (64, 48))
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no videos')
    for frame in range(number):
        picture = np.full((48, 64, 3), 20 + 3 * frame, np.uint8)
        cv2.circle(picture, (2 * frame, 24), 8, (0, 0, 255), -1)
        writer.write(picture)
    writer.release()
    return path
