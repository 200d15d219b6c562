"""Accuracy of the networks under one small recipe, from scratch, on a folder of photographs for each class.

A short loop of its own, so that it runs wherever the backbones do: nothing but PyTorch and OpenCV.
"""

import dataclasses
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import tqdm

from ..benchmark.rows import Results, check_settings, read_rows
from ..benchmark.speed import known_names
from ..benchmark.sweep import use_threads
from ..datasets.class_folders import IMAGE_SUFFIXES, ClassFolders, read_class_folders
from ..deploy.steps import quiet
from ..errors import ConfigError, TrainingError
from ..latency import reason_of
from ..machine import machine
from ..models import TRTViT
from ..runtime.preprocess import read_image
from ..version import __version__
from ..zoo.complexity import count_complexity
from .networks import NETWORKS, Network

ROWS = 'study_accuracy'
"""The rows are in ``study_accuracy.json``."""

KEY = ('name', 'seed', 'data', 'recipe')
"""Fields that tell runs apart."""

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, RGB."""

BORDER = 8 / 7
"""Height and width of an image before the middle is cut out for validation, over those of the input."""

TRAINED = ('ResNet', 'MixNetV', 'Refined-ResNet', 'Refined-MixNetV', 'MixNetA', 'MixNetB', 'MixNetC')
"""Networks that are trained by default: those that claims about accuracy name."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings that all networks are trained with.

    Attributes:
        size: Height and width of the input.
        width: Channels over those of :data:`~mmtrtvit.study.networks.WIDTHS`.
        epochs: Length.
        batch: Images in an iteration; a smaller rest of an epoch is left out.
        lr: Learning rate of AdamW, decayed to zero by a cosine.
        weight_decay: Of weights; norms and biases have none.
        warmup: Epochs in which the rate rises from zero.
        smoothing: Label smoothing.
        clip: Largest norm of the gradient.
        crop: Least share of an image in a crop.
        colour: Brightness, contrast and saturation change by up to this share.
    """

    size: int = 96
    width: float = 0.25
    epochs: int = 30
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 5
    smoothing: float = 0.1
    clip: float = 1.0
    crop: float = 0.35
    colour: float = 0.4


class Classifier(nn.Module):
    """A backbone, the mean over all pixels, and one linear layer.

    Args:
        backbone: The backbone; its last map is taken.
        classes: Number of classes.

    Shape:
        ``(B, 3, H, W) -> (B, classes)``
    """

    def __init__(self, backbone: TRTViT, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(backbone.out_channels[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.backbone(x)[-1].mean((2, 3)))


class Photographs:
    """The images of a split, in memory.

    Args:
        data: The data set.
        split: ``'train'`` or ``'val'``.
        size: Height and width of the network's input. Larger images are kept with a shorter side of twice that.

    Attributes:
        images: ``(H, W, 3)`` uint8, RGB.
        labels: Their classes.
    """

    def __init__(self, data: ClassFolders, split: str, size: int) -> None:
        self.images: list[np.ndarray] = []
        self.labels: list[int] = []
        for label, name in enumerate(data.classes):
            for path in sorted((data.folder / split / name).rglob('*')):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    image = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)
                    self.images.append(_with_side(image, min(2 * size, *image.shape[:2])))
                    self.labels.append(label)

    def __len__(self) -> int:
        return len(self.images)


def _crop(image: np.ndarray, size: int, recipe: Recipe, random: np.random.Generator) -> np.ndarray:
    """A random part of an image, of random shape and colour, perhaps mirrored."""
    height, width = image.shape[:2]
    for _ in range(10):
        area = height * width * random.uniform(recipe.crop, 1)
        ratio = math.exp(random.uniform(-math.log(4 / 3), math.log(4 / 3)))
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            break
    else:
        h = w = min(height, width)
    top, left = random.integers(height - h + 1), random.integers(width - w + 1)
    part = cv2.resize(image[top : top + h, left : left + w], (size, size), interpolation=cv2.INTER_LINEAR)
    part = part[:, ::-1] if random.random() < 0.5 else part
    brightness, contrast, saturation = random.uniform(1 - recipe.colour, 1 + recipe.colour, 3)
    found = part.astype(np.float32) * brightness
    found = (found - found.mean()) * contrast + found.mean()
    grey = found.mean(axis=2, keepdims=True)
    return np.clip((found - grey) * saturation + grey, 0, 255)


def _with_side(image: np.ndarray, side: int) -> np.ndarray:
    """An image whose shorter side has this length."""
    scale = side / min(image.shape[:2])
    shape = [max(round(edge * scale), side) for edge in image.shape[1::-1]]
    return image if scale == 1 else cv2.resize(image, shape, interpolation=cv2.INTER_AREA)


def _middle(image: np.ndarray, size: int) -> np.ndarray:
    image = _with_side(image, round(size * BORDER))
    top, left = ((edge - size) // 2 for edge in image.shape[:2])
    return image[top : top + size, left : left + size].astype(np.float32)


def _batch(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Images as the network's input: ``(B, 3, size, size)``, normalised."""
    stacked = (np.stack(images).astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [dict(params=matrices, weight_decay=recipe.weight_decay), dict(params=others, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=recipe.lr)


def _rate(step: int, steps: int, recipe: Recipe) -> float:
    """Learning rate of an iteration, over the highest."""
    warmup = recipe.warmup * steps / recipe.epochs
    return min((step + 1) / max(warmup, 1), 1.0) * (1 + math.cos(math.pi * step / steps)) / 2


def train_network(
    network: Network, train: Photographs, val: Photographs, classes: int, recipe: Recipe, seed: int
) -> Iterator[dict]:
    """Train a network from scratch.

    Args:
        network: The network.
        train: Images to train on.
        val: Images to judge by; they are looked at once, at the end.
        classes: Number of classes.
        recipe: The recipe.
        seed: Of weights, order and crops.

    Yields:
        ``loss`` of an epoch; for the last one also ``top1`` and ``train_top1``, in percent, and ``params``.

    Raises:
        TrainingError: If the loss is infinite or NaN.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    backbone = network.backbone(recipe.width, final_norm=True, out_indices=(3,))
    with quiet():
        backbone.init_weights()
    classifier = Classifier(backbone, classes).train()
    nn.init.trunc_normal_(classifier.linear.weight, std=0.02)
    optimizer = _optimizer(classifier, recipe)
    batch = min(recipe.batch, len(train))
    each = len(train) // batch
    step, steps = 0, each * recipe.epochs
    labels = torch.tensor(train.labels)
    for epoch in range(recipe.epochs):
        order, total = random.permutation(len(train)), 0.0
        for places in order[: each * batch].reshape(each, batch):
            for group in optimizer.param_groups:
                group['lr'] = recipe.lr * _rate(step, steps, recipe)
            images = _batch([_crop(train.images[place], recipe.size, recipe, random) for place in places])
            loss = F.cross_entropy(classifier(images), labels[places], label_smoothing=recipe.smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(classifier.parameters(), recipe.clip)
            optimizer.step()
            total += loss.item()
            step += 1
        if not math.isfinite(total):
            raise TrainingError(f'The loss of epoch {epoch + 1} is {total}.', fix='choose a lower --lr')
        found = dict(loss=total / each)
        if epoch + 1 == recipe.epochs:
            found.update(
                top1=_accuracy(classifier, val, recipe.size), train_top1=_accuracy(classifier, train, recipe.size)
            )
            found.update(params=sum(parameter.numel() for parameter in classifier.parameters()))
        yield found


@torch.no_grad()
def _accuracy(classifier: nn.Module, split: Photographs, size: int) -> float:
    """Share of images whose class is found in their middle, percent."""
    classifier.eval()
    right = 0
    for start in range(0, len(split), 64):
        chosen = range(start, min(start + 64, len(split)))
        scores = classifier(_batch([_middle(split.images[place], size) for place in chosen]))
        right += sum(int(scores[i].argmax()) == split.labels[place] for i, place in enumerate(chosen))
    return 100 * right / len(split)


def study_training(
    data: str | os.PathLike,
    networks: Sequence[str] = TRAINED,
    seeds: Sequence[int] = (0, 1, 2),
    out: str | os.PathLike = 'work_dirs/study',
    threads: int | None = None,
    **settings: float,
) -> list[dict]:
    """Train networks from scratch, each with several seeds, and write a row for each run.

    Runs that have a row are not run again: after an interruption, the same call goes on.

    Args:
        data: A folder with ``train`` and ``val``, each with a folder of images for each class.
        networks: Keys of :data:`~mmtrtvit.study.networks.NETWORKS`.
        seeds: Seeds of each.
        out: Folder of ``study_accuracy.json``.
        threads: Threads of PyTorch; its own choice by default.
        settings: Fields of :class:`Recipe`.

    Returns:
        All rows in the file.

    Raises:
        ConfigError: If a name is unknown or a setting cannot be used.
        DataError: If the data set is incomplete or an image cannot be read.
    """
    known_names('--networks', networks, NETWORKS)
    check_settings(threads=threads)
    recipe = _recipe(**settings)
    folders = read_class_folders(data)
    results = Results(out, ROWS)
    done = {_key(row) for row in (read_rows(results.path) or {}).get('rows', []) if row['status'] == 'OK'}
    about = dict(
        kind='measured', data=folders.folder.name, classes=list(folders.classes), recipe=dataclasses.asdict(recipe)
    )
    runs = [dict(about, name=name, seed=seed) for seed, name in itertools.product(seeds, networks)]
    left = [run for run in runs if _key(run) not in done]
    train, val = (Photographs(folders, split, recipe.size) for split in ('train', 'val'))
    about = dict(train_images=len(train), val_images=len(val), guess=100 * folders.largest)
    with use_threads(threads) as used, tqdm(total=len(left) * recipe.epochs, unit='epoch', disable=None) as bar:
        if len(left) < len(runs):
            bar.write(f'{len(runs) - len(left)} of {len(runs)} runs have a row in {results.path}')
        for run in left:
            bar.set_description(f'{run["name"]}, seed {run["seed"]}')
            network, begun, losses = NETWORKS[run['name']], time.monotonic(), []
            row = dict(run, **about, **network.facts(), status='OK', reason=None)
            try:
                for epoch in train_network(network, train, val, len(folders.classes), recipe, run['seed']):
                    losses.append(round(epoch['loss'], 4))
                    bar.update()
            except (RuntimeError, ValueError) as error:
                row.update(status='FAILED', reason=reason_of(error))
                bar.update(recipe.epochs - len(losses))
            else:
                row.update(
                    {name: value for name, value in epoch.items() if name != 'loss'}, macs=_macs(network, recipe)
                )
            row.update(losses=losses, seconds=round(time.monotonic() - begun, 1), threads=used, machine=machine())
            row.update(versions=dict(torch=torch.__version__.split('+')[0], mmtrtvit=__version__))
            results.add(row, KEY)
            bar.write(_line(row))
    print(f'Rows: {results.path}')
    return read_rows(results.path)['rows']


def _recipe(**settings: float) -> Recipe:
    recipe = Recipe(**{name: value for name, value in settings.items() if value is not None})
    wrong = [name for name in ('size', 'width', 'epochs', 'batch', 'lr') if getattr(recipe, name) <= 0]
    for name in wrong:
        raise ConfigError(
            f'--{name} {getattr(recipe, name)} is too small.', expected='a number above 0', fix=f'correct --{name}'
        )
    if recipe.width % 0.125:
        raise ConfigError(
            f'--width {recipe.width} does not share the channels out to heads of attention.',
            expected='a multiple of 0.125',
            fix='correct --width',
        )
    return recipe


def _key(run: dict) -> str:
    return repr([run[name] if name != 'recipe' else sorted(run[name].items()) for name in KEY])


def _macs(network: Network, recipe: Recipe) -> int:
    """Multiply-accumulates of the backbone on one image."""
    with torch.device('meta'):
        backbone = network.backbone(recipe.width, final_norm=True).eval()
        backbone.switch_to_deploy()
    return count_complexity(backbone, (1, 3, recipe.size, recipe.size)).total_macs


def _line(row: dict) -> str:
    if row['status'] == 'FAILED':
        return f'{row["name"]}, seed {row["seed"]}: FAILED, {row["reason"]}'
    return (
        f'{row["name"]}, seed {row["seed"]}: {row["top1"]:.1f} % of {row["val_images"]} images '
        f'(guessing: {row["guess"]:.1f} %), {row["train_top1"]:.1f} % of those trained on, {row["seconds"]:.0f} s'
    )
