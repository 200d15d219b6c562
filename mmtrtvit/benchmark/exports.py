"""What the rewriters and the folding of this package change: the plain export of mmdeploy against ours, in one run."""

import dataclasses
import functools
import importlib.metadata
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from mmengine.config import Config
from rich.console import Console

from ..config import load_config
from ..deploy.conversion import Conversion, export_onnx
from ..deploy.export.deploy_configs import follow_input_shape, make_deploy_config
from ..deploy.export.describe import describe_model, task_of
from ..deploy.export.onnx_graph import operators
from ..deploy.export.rewriters.registration import FLAVOURS
from ..deploy.proof.detection_parity import MOST_TIES, compare_detections
from ..deploy.proof.equal_scores import EqualScoresByPlace
from ..deploy.proof.images import dataset_metainfo, sample_images
from ..deploy.proof.reference import Reference, build_pytorch_model
from ..deploy.proof.segmentation_parity import Segmented, compare_label_maps
from ..deploy.steps import quiet
from ..latency import machine, measure
from ..runtime import LabelMap, Predictor
from ..runtime.backends import Session, open_session
from ..runtime.network import Network as RuntimeNetwork
from ..runtime.predictor import Result
from ..runtime.tensor_names import INPUT
from ..testing.untrained import find_entry, save_spread, untrained_options
from ..zoo.methods import METHODS
from .backbones import BACKENDS, versions
from .plain_export import export_plainly
from .results import Results
from .rows import COMPARED
from .settings import check_settings
from .tables import exports_table
from .tables.exports import PLAIN

SCOPE = 'network: normalised image to the outputs of the graph'


@dataclasses.dataclass(frozen=True)
class Network:
    """A network to export.

    Attributes:
        about: What its rows say of it: ``family``, ``method`` and ``arch``.
        config: Its config.
        checkpoint: Its weights.
    """

    about: dict[str, str]
    config: Config
    checkpoint: Path


@dataclasses.dataclass(frozen=True)
class Export:
    """An exported network.

    Attributes:
        name: :data:`~mmtrtvit.benchmark.tables.exports.PLAIN`, or one of our flavours.
        path: The ONNX file; none where there is no export.
        facts: What rows say of it: ``opset``, ``nodes`` as exported, and ``folded``, the nodes after folding (``None``
            where nothing folds); or ``error``.
    """

    name: str
    path: Path
    facts: dict


def plain_deploy_config(model: Config) -> Config:
    """mmdeploy's own deploy config for ONNX Runtime with free sides: what ours has beside it is taken away.

    Segmentors give logits, as ours do; mmdeploy's default is the label map.

    Args:
        model: ``config.model``.
    """
    config = make_deploy_config(model, 'onnxruntime')
    for ours in ('module', 'flavour', 'backend'):
        del config.codebase_config[ours]
    config.onnx_config.optimize = True
    return config


def make_exports(network: Network, image: np.ndarray, folder: Path) -> Iterator[Export]:
    """Export a network in each of our flavours, and by mmdeploy alone.

    Args:
        network: The network.
        image: ``(H, W, 3)`` uint8, BGR: the image to trace.
        folder: Where the files go.
    """
    model = network.config.model
    ours = build_pytorch_model(network.config, str(network.checkpoint))
    # segmentors are the same in both
    for flavour in FLAVOURS[:1] if task_of(model) == 'segmentation' else FLAVOURS:
        deploy_config = make_deploy_config(model, 'onnxruntime', flavour)
        conversion = Conversion(follow_input_shape(network.config, None), deploy_config, None, 'fp32')
        path = folder / f'{flavour}.onnx'
        with quiet():
            nodes, folded = export_onnx(conversion, ours, image, path)
        yield Export(flavour, path, dict(opset=deploy_config.onnx_config.opset_version, nodes=nodes, folded=folded))

    traced, path = folder / 'traced.png', folder / 'plain.onnx'
    cv2.imwrite(str(traced), image)
    found = export_plainly(network.config, plain_deploy_config(model), network.checkpoint, traced, path)
    facts = dict(opset=found['opset'], nodes=None, folded=None, refused=found['refused'])
    if found['opset'] is None:
        facts['error'] = f'not exported: {list(found["refused"].values())[-1]}'
    else:
        facts['nodes'] = sum(operators(onnx.load(path)).values())
    yield Export(PLAIN, path, facts)


def _parity(pairs: Sequence[tuple[Result, Result]]) -> dict:
    """How predictions compare with PyTorch's, as plain data, without the counts of each class.

    Near ties are counted only where they are as few as chance makes them; boxes that are clipped elsewhere have the
    right scores too.
    """
    if isinstance(pairs[0][0], LabelMap):
        parity = compare_label_maps([tuple(Segmented(found.labels) for found in pair) for pair in pairs])
    else:
        parity = compare_detections([(dataclasses.replace(ours, masks=None), theirs) for ours, theirs in pairs])
    found = {name: value for name, value in parity.to_dict().items() if name != 'classes'}
    if found.get('ties', 0) > MOST_TIES * found.get('detections', 0):
        found['ties'] = 0
    return found


def _reason(error: Exception, path: Path) -> str:
    """The line of a runtime's error that says something, without the folder of the file.

    OpenVINO names places in its source first, and sums up at the end what it lacks.
    """
    told = str(error.__cause__ or error).rpartition('Summary:')[2]
    lines = [line.strip(' -') for line in told.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(('Exception from', 'Check '))]
    return (said or lines or [type(error).__name__])[0].replace(str(path), path.name)


class _Compared:
    """What PyTorch finds on some images, to compare exports with: label maps, or boxes with scores and labels.

    Masks are left out, as mmdet cannot paste those of boxes beside the image, which not every export clips to it.

    Args:
        network: The network.
        images: How many images of the test split.
    """

    def __init__(self, network: Network, images: int) -> None:
        self.config = follow_input_shape(network.config, None)
        reference = Reference(build_pytorch_model(self.config, str(network.checkpoint)), self.config)
        self.images = sample_images(self.config, images)
        self.inputs = [{INPUT: reference.input(image)} for image in self.images]
        with EqualScoresByPlace():
            self._found = [reference(image) for image in self.images]
        description = describe_model(self.config, dataset_metainfo(self.config))
        task = {'instance': 'detection'}.get(description['task'], description['task'])
        self._description = {**description, 'task': task, 'postprocessing': {}}

    def run(self, session: Session) -> None:
        """Run an export on every image once, which raises what its runtime raises."""
        for inputs in self.inputs:
            session.run(inputs)

    def __call__(self, session: Session) -> dict[str, dict | None]:
        """How what an export finds compares with PyTorch: on the image that was traced, and on the others."""
        predict = Predictor(self._description, RuntimeNetwork(session, self._description['task']))
        pairs = list(zip(self._found, map(predict, self.images), strict=True))
        return dict(traced=_parity(pairs[:1]), others=_parity(pairs[1:]) if pairs[1:] else None)


def measure_exports(
    networks: Sequence[Network], *, images: int = 4, threads: int | None = None, **limits: float
) -> list[dict]:
    """Export networks by mmdeploy alone and by this package, and compare all with PyTorch.

    The exports of a network are timed in turn, in one run.

    Args:
        networks: What to export.
        images: Images of the test split to compare on; the first one is traced and timed.
        threads: Threads of every runtime; by default as many as PyTorch takes.
        limits: Arguments of :func:`~mmtrtvit.benchmark.measure`, such as ``max_seconds``.

    Returns:
        A row for each network, export and runtime: the facts of the export, and either ``parity`` and the latency or
        ``error``.

    Raises:
        DeployError: If a runtime is missing, or cannot run what this package exports.
    """
    console = Console(highlight=False)
    if threads:
        torch.set_num_threads(threads)
    threads = torch.get_num_threads()
    facts = dict(images=images, batch=1, precision='fp32', device='cpu', machine=machine())
    facts['versions'] = {**versions(COMPARED), 'mmdeploy': importlib.metadata.version('mmdeploy')}
    rows = []
    for number, network in enumerate(networks, start=1):
        console.print(f'[{number}/{len(networks)}] {" ".join(network.about.values())}: PyTorch, exports, comparison')
        rows += [{**row, **facts} for row in _measure_network(network, images, threads, limits, console)]
    return rows


def _measure_network(network: Network, images: int, threads: int, limits: dict, console: Console) -> list[dict]:
    """The rows of one network; its sessions are gone afterwards, as those of all at once take much memory."""
    rows, subjects = {}, {}
    compared = _Compared(network, images)
    about = dict(network.about, shape='x'.join(map(str, compared.inputs[0][INPUT].shape)))
    with tempfile.TemporaryDirectory() as folder:
        for export in make_exports(network, compared.images[0], Path(folder)):
            told = ', '.join(f'{name} {value}' for name, value in export.facts.items() if name != 'refused')
            console.print(f'      {export.name}: {told}', markup=False)
            for runtime in COMPARED:
                name = f'{export.name} {runtime}'
                rows[name] = {**about, 'export': export.name, 'runtime': runtime, **export.facts}
                if 'error' in export.facts:
                    continue
                try:
                    session = open_session(BACKENDS[runtime], export.path, threads=threads)
                    compared.run(session)
                except Exception as error:  # of the runtimes, each of which has its own
                    if export.name != PLAIN:
                        raise
                    rows[name]['error'] = _reason(error, export.path)
                    console.print(f'      {runtime}: {rows[name]["error"]}', markup=False)
                    continue
                rows[name]['parity'] = compared(session)
                subjects[name] = functools.partial(session.run, compared.inputs[0])
        console.print(f'      measuring {len(subjects)} subjects in turn, {threads} threads')
        load = round(os.getloadavg()[0], 1)
        for latency in measure(subjects, scope=SCOPE, **limits):
            rows[latency.name].update(latency.to_dict(), load_average=load)
    return list(rows.values())


def benchmark_exports(
    root: str | os.PathLike,
    out: str | os.PathLike = 'work_dirs/exports',
    *,
    family: str = 'trtvit',
    archs: Sequence[str] | None = None,
    methods: Sequence[str] = tuple(METHODS),
    size: int = 320,
    **settings: float | None,
) -> list[dict]:
    """Measure the plain export of mmdeploy against ours, untrained, and write rows and table.

    Args:
        root: A checkout.
        out: Folder for ``exports.json`` and ``exports.md``.
        family: Of backbones.
        archs: Sizes; the first of the family by default.
        methods: Names in :data:`~mmtrtvit.zoo.methods.METHODS`.
        size: Images are resized to fit into a square of this many pixels.
        settings: Arguments of :func:`measure_exports`.

    Returns:
        The rows.

    Raises:
        ConfigError: If there is no such config, or a setting has no meaning.
        DeployError: As :func:`measure_exports` does.
    """
    check_settings(size=size, **settings)
    entries = [find_entry(Path(root), method, family, arch) for method in methods for arch in archs or [None]]
    results = Results(out, 'exports')
    with tempfile.TemporaryDirectory() as folder, quiet():
        networks = []
        for entry in entries:
            checkpoint, options = Path(folder) / f'{entry.name}.pth', untrained_options(entry, size)
            save_spread(entry, options, checkpoint)
            about = dict(family=family, method=entry.method, arch=entry.arch)
            networks.append(Network(about, load_config(entry.path, options), checkpoint))
        rows = [dict(row, size=size) for row in measure_exports(networks, **settings)]
    results.write({'rows': rows})
    results.show(exports_table({'rows': rows}))
    return rows
