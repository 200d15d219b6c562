"""Predictions of a checkpoint beside the truth."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import BaseDataElement, LabelData
from tqdm import tqdm

from ..checkpoint import load_checkpoint
from ..config import load_config, pipeline_of, with_pipeline
from ..datasets.preflight import check_data
from ..engine.finite import finite_outputs
from ..errors import ConfigError, DataError, library_errors_explained
from ..unique_names import UniqueNames
from .sheet import DRAWN_ABOVE, draw_side_by_side

TRUTH = {'pred_instances': 'gt_instances', 'pred_sem_seg': 'gt_sem_seg', 'pred_label': 'gt_label'}
"""Predictions of networks, and the truth that belongs to each."""

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
"""Files of a folder with these suffixes are images."""


def image_files(paths: Sequence[str | os.PathLike]) -> list[Path]:
    """Image files that are named, and those in folders that are named.

    Raises:
        DataError: If a path does not exist, or a folder has no images.
    """
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f'There is no image or folder {path}.', fix='correct --images')
        found = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(
                f'There is no image in the folder {path}.', expected=' '.join(SUFFIXES), fix='correct --images'
            )
        files += found
    return files


def _truths(config: Config, number: int) -> Iterator[tuple[Path, BaseDataElement]]:
    """Path and truth, in the image's own pixels, of the first images of the test split."""

    def belongs(step: Mapping) -> bool:
        return step['type'].endswith(('LoadImageFromFile', 'LoadAnnotations'))

    def pack(step: Mapping) -> bool:
        return step['type'].endswith(('PackDetInputs', 'PackSegInputs', 'PackInputs'))

    steps = pipeline_of(config)
    pipeline = [step for step in steps if belongs(step)]
    pipeline += [dict(type=step['type'], meta_keys=('img_path',)) for step in steps if pack(step)]
    built = DATASETS.build(with_pipeline(config.test_dataloader.dataset, pipeline))
    for index in range(min(number, len(built))):
        sample = built[index]['data_samples']
        yield Path(sample.img_path), sample


def _read(path: Path) -> np.ndarray:
    """An image, RGB.

    Raises:
        DataError: If it cannot be read.
    """
    image = mmcv.imread(str(path))
    if image is None:
        raise DataError(f'The image {path} cannot be read.', fix='leave it out of --images, or replace the file')
    return np.ascontiguousarray(image[..., ::-1])


def _shown(content: BaseDataElement | torch.Tensor, scores: torch.Tensor | None = None) -> BaseDataElement:
    """A prediction or truth as pictures take it: mmpretrain has tensors where mmdet and mmseg have elements."""
    if not isinstance(content, torch.Tensor):
        return content.cpu()
    return LabelData(label=content.cpu(), **({} if scores is None else {'score': scores.cpu()}))


def _draw(
    path: Path,
    truth: BaseDataElement | None,
    found: BaseDataElement,
    metainfo: Mapping,
    written: Path,
    score_thr: float = DRAWN_ABOVE,
) -> None:
    """Draw image, truth if there is any, and prediction of one image into a PNG file."""
    predicted = next(name for name in TRUTH if name in found)
    columns = {path.name: None}
    if truth is not None and TRUTH[predicted] in truth:
        columns['truth'] = _shown(truth.get(TRUTH[predicted]))
    scores = found.get('pred_score') if predicted == 'pred_label' else None
    columns['prediction'] = _shown(found.get(predicted), scores)
    draw_side_by_side([(_read(path), columns)], metainfo, written, score_thr=score_thr)


class DrawPredictions(Hook):
    """Draw image, truth and prediction of every image of a test split side by side, one PNG per image.

    Args:
        out: Folder for the pictures, which take the names of the images, with numbers where several have one name.
    """

    def __init__(self, out: str | os.PathLike) -> None:
        self.out = Path(out)

    def before_test(self, runner) -> None:
        self._unique = UniqueNames()

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        for sample in outputs:
            path = Path(sample.img_path)
            written = self.out / f'{self._unique(path.stem)}.png'
            _draw(path, sample, sample, runner.test_dataloader.dataset.metainfo, written)


def visualize(
    config: str | os.PathLike,
    checkpoint: str,
    out: str | os.PathLike,
    *,
    images: Sequence[str | os.PathLike] | None = None,
    number: int = 8,
    score_thr: float = DRAWN_ABOVE,
    variants: Sequence[str] = (),
    cfg_options: Mapping | None = None,
    allow_mismatch: bool = False,
) -> list[Path]:
    """Draw image, truth and prediction side by side, one PNG per image.

    Args:
        config: The config file of a detector, a segmentor or a classifier.
        checkpoint: Its checkpoint; it must fill the whole network.
        out: Folder for the pictures, which take the names of the images, with numbers where several have one name.
        images: Image files, and folders of images, which have no truth; None for the test split.
        number: Maximum number of images of the test split.
        score_thr: Score from which a detection is drawn.
        variants, cfg_options: Changes to the config, as in :func:`~mmtrtvit.apis.evaluate`.
        allow_mismatch: Accept a checkpoint that does not fill the whole network.

    Returns:
        The files written.

    Raises:
        ConfigError, DataError, CheckpointError: For input that cannot be used.
    """
    if number < 1:
        raise ConfigError(f'--number {number}: nothing would be drawn.', fix='give 1 or more')
    if not 0 <= score_thr < 1:
        raise ConfigError(
            f'--score-thr {score_thr:g} is out of range.', expected='0 or more, below 1', fix='correct --score-thr'
        )
    cfg = load_config(config, cfg_options, variants)
    files = None if images is None else image_files(images)
    if files is None:
        check_data(cfg, ['test'])
    init_default_scope(cfg.default_scope)
    with library_errors_explained(stage=lambda: 'Drawing'):
        metainfo = DATASETS.build(with_pipeline(cfg.test_dataloader.dataset, [], lazy_init=True)).metainfo
        model = MODELS.build(copy.deepcopy(cfg.model))
        load_checkpoint(model, checkpoint, allow_mismatch=allow_mismatch)
        model.eval()
        pipeline = Compose([step for step in pipeline_of(cfg) if not step['type'].endswith('LoadAnnotations')])
        todo = _truths(cfg, number) if files is None else ((path, None) for path in files)
        written, unique = [], UniqueNames()
        total = number if files is None else len(files)
        for path, truth in tqdm(todo, total=total, desc='Drawing', unit='image', disable=None):
            _read(path)  # a file that is not an image is named here
            with torch.no_grad(), finite_outputs(model):
                found = model.test_step(pseudo_collate([pipeline(dict(img_path=str(path), img_id=0))]))[0]
            written.append(Path(out) / f'{unique(path.stem)}.png')
            _draw(path, truth, found, metainfo, written[-1], score_thr)
    return written
