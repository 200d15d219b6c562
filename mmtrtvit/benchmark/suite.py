"""The measurements behind the tables of the documentation."""

import os
from collections.abc import Iterator, Sequence

from ..runtime.preprocess import read_image
from .candidates import PYTORCH, Candidate, end_to_end_candidate, engine_candidate
from .growth import growth_groups
from .sources import Source, our_backbones, timm_backbone
from .speed import candidates_of, device_of, image_or_noise, make_sweep, profiler_candidates

BACKENDS = ('onnxruntime', 'openvino')

LARGE = {'trtvit': ('a', 'b'), 'nextvit': ('s',), 'efficientformer': ('l1', 'l3'), 'turbovit': None}
"""The networks that are measured at the size of a detector and in batches: those that end in time."""


def _groups(device: str, timm: Sequence[Source]) -> Iterator[list[Candidate]]:
    """The groups of candidates, each of which is measured in turn."""

    def group(sources, shape, backends=BACKENDS, precisions=('fp32',), modes=('eager',)) -> list[Candidate]:
        return [c for s in sources for c in candidates_of(s, shape, backends, modes, precisions, device)]

    ours = our_backbones(None, None)
    large = [source for family, archs in LARGE.items() for source in our_backbones([family], archs)]
    yield group(ours, (1, 3, 224, 224), (PYTORCH, *BACKENDS)) + group(timm, (1, 3, 224, 224), (PYTORCH, *BACKENDS))
    yield group(our_backbones(['trtvit'], None), (1, 3, 224, 224), precisions=('fp32', 'bf16', 'int8'))
    yield group(large, (8, 3, 224, 224))
    yield group(large, (1, 3, 800, 1344))


def benchmark_suite(
    out: str | os.PathLike = 'work_dirs/benchmark',
    *,
    timm: Sequence[str] = (),
    folders: Sequence[str] = (),
    image: str | None = None,
    profiler: bool = False,
    **settings,
) -> list[dict]:
    """Measure everything that the tables of the documentation show.

    All families at 224 in PyTorch, ONNX Runtime and OpenVINO; TRT-ViT in every precision; batches of 8; 800 x 1344; and
    how cost grows with batch, resolution and size of the network.

    Args:
        out: Folder of ``rows.jsonl``; rows are added to those that are there.
        timm: Models of timm to measure with the families.
        folders: Artefacts of ``tools/deploy.py``, whose engines and ``load(folder)(image)`` are measured as well.
        image: The image for them; random pixels by default.
        profiler: Measure their engines in mmdeploy's own wrapper and by its own counter as well.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The rows.

    Raises:
        ConfigError: If timm is missing, a number is not positive, or the machine is busy.
        DataError: If the image cannot be read.
        DeployError: If an artefact is incomplete.
    """
    theirs = [timm_backbone(name) for name in timm]
    given = image_or_noise(image, '800x1333')
    pixels = read_image(given)
    sweep = make_sweep(out, **settings)
    artefacts = [
        candidate
        for folder in folders
        for candidate in (
            engine_candidate(folder, pixels, None, device_of(folder, sweep)),
            end_to_end_candidate(folder, given, device_of(folder, sweep)),
        )
    ]
    if profiler:
        artefacts += profiler_candidates(folders, given, sweep)
    groups = [*_groups(sweep.device, theirs), *growth_groups('trtvit', ('openvino',), sweep.device)]
    return sweep([*([artefacts] if artefacts else []), *groups])
