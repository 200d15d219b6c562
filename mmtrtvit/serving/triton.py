"""A model repository for NVIDIA Triton from an artefact of ``tools/deploy.py``.

It holds two models. ``NAME_network`` is the network in a backend of Triton, which batches requests. ``NAME`` takes the
file of an image and gives objects or a label map: it runs :mod:`mmtrtvit.serving.triton_model` in the Python backend,
with pre- and post-processing of this package, and calls the network.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..atomic import atomic_dir
from ..errors import ConfigError, DeployError
from ..runtime.backends import BACKENDS
from ..runtime.manifest import MANIFEST, read_manifest
from ..version import __version__
from .uploads import MAX_PIXELS

NETWORK = '{}_network'
"""Name of the network's model for the name of the whole."""

TRITON_BACKENDS = {'onnxruntime': 'onnxruntime', 'openvino': 'openvino', 'tensorrt': 'tensorrt'}
"""Backend of an artefact to backend of Triton."""

FILES = {
    '.onnx': 'model.onnx',
    '.xml': 'model.xml',
    '.bin': 'model.bin',
    '.engine': 'model.plan',
    '.plan': 'model.plan',
}
"""Suffix of an engine's file to the name that Triton's backends look for."""

TYPES = {
    **{
        'float': 'TYPE_FP32',
        'float32': 'TYPE_FP32',
        'float16': 'TYPE_FP16',
        'double': 'TYPE_FP64',
        'bool': 'TYPE_BOOL',
    },
    **{'int64': 'TYPE_INT64', 'int32': 'TYPE_INT32', 'uint8': 'TYPE_UINT8', 'int8': 'TYPE_INT8'},
}
"""Type of a tensor in a manifest to Triton's."""

IMAGE = 'image'
"""Input of the whole: the bytes of a file."""

RESULTS: dict[str, list[tuple[str, str, list[int]]]] = {
    'detection': [
        ('boxes', 'TYPE_FP32', [-1, 4]),
        ('scores', 'TYPE_FP32', [-1]),
        ('labels', 'TYPE_INT64', [-1]),
        ('names', 'TYPE_STRING', [-1]),
    ],
    'segmentation': [('label_map', 'TYPE_INT32', [-1, -1])],
    'classification': [('scores', 'TYPE_FP32', [-1]), ('label', 'TYPE_INT64', [1]), ('name', 'TYPE_STRING', [1])],
}
RESULTS['instance'] = [*RESULTS['detection'], ('masks', 'TYPE_STRING', [-1]), ('size', 'TYPE_INT64', [2])]
"""Task to name, type and shape of each output of the whole."""

MODEL = '''"""Image to result, by tools/export_triton.py of mmtrtvit {version}."""

from mmtrtvit.serving.triton_model import TritonPythonModel

__all__ = ['TritonPythonModel']
'''


class Word(str):
    """A name of an enumeration, written without quotes."""


def to_pbtxt(message: Mapping[str, Any]) -> str:
    """A message in the text format of protocol buffers.

    Args:
        message: Field to value: a number, a string, a :class:`Word`, a mapping, or a list of these.
    """
    return '\n'.join(_lines(message)) + '\n'


def _lines(message: Mapping[str, Any]) -> Iterator[str]:
    for name, value in message.items():
        for single in value if isinstance(value, list) else [value]:
            if isinstance(single, Mapping):
                yield f'{name} {{'
                yield from (f'  {line}' for line in _lines(single))
                yield '}'
            elif isinstance(single, str) and not isinstance(single, Word):
                yield f'{name}: {json.dumps(single)}'
            else:
                yield f'{name}: {single}'


def _parameters(values: Mapping[str, Any]) -> list[dict]:
    return [dict(key=key, value=dict(string_value=str(value))) for key, value in values.items()]


def _instances(count: int, device: str) -> dict:
    return dict(count=count, kind=Word('KIND_GPU' if device == 'cuda' else 'KIND_CPU'))


def _tensor(name: str, described: Mapping, batched: bool) -> dict:
    dims = [side if isinstance(side, int) and side > 0 else -1 for side in described['shape']]
    if batched:
        del dims[0]
    if described['dtype'] not in TYPES:
        raise DeployError(
            f'Triton has no type for the tensor {name}, which is {described["dtype"]}.',
            expected=f'one of {", ".join(TYPES)}',
            fix='export again with tools/deploy.py, without custom outputs',
        )
    tensor: dict[str, Any] = dict(name=name, data_type=Word(TYPES[described['dtype']]), dims=dims)
    if not dims:  # one number for each image; Triton wants at least one dimension
        tensor.update(dims=[1], reshape={})
    return tensor


def largest_batch(manifest: Mapping, wanted: int) -> int:
    """The number of images that Triton may put together; 0 if it must not.

    Engines of a fixed batch cannot be batched. Triton's OpenVINO backend fails for batches that are not full.
    """
    ((name, described),) = manifest['inputs'].items()
    side = described['shape'][0]
    if manifest['backend'] == 'openvino' or (isinstance(side, int) and side > 0):
        return 0
    profile = manifest.get('profiles', {}).get(name)
    return min(wanted, profile['max'][0]) if profile else wanted


def network_config(manifest: Mapping, name: str, *, max_batch: int, instances: int, device: str) -> dict:
    """The ``config.pbtxt`` of the network.

    Args:
        manifest: The artefact's manifest.
        name: Name of the model.
        max_batch: Images that Triton may put together, if the engine allows it.
        instances: Copies of the network that run at the same time.
        device: ``'cpu'`` or ``'cuda'``.
    """
    batch = largest_batch(manifest, max_batch)
    config: dict[str, Any] = dict(
        name=name,
        backend=TRITON_BACKENDS[manifest['backend']],
        max_batch_size=batch,
        input=[_tensor(key, said, batch > 0) for key, said in manifest['inputs'].items()],
        output=[_tensor(key, said, batch > 0) for key, said in manifest['outputs'].items()],
        instance_group=[_instances(instances, device)],
    )
    if batch > 1:
        config['dynamic_batching'] = {}
    if manifest['backend'] == 'openvino':
        settings = {'PERFORMANCE_HINT': 'LATENCY', **({'HINT_BF16': 'YES'} if manifest['precision'] == 'bf16' else {})}
        config['parameters'] = _parameters(settings)
    return config


def whole_config(manifest: Mapping, name: str, *, score: float, max_pixels: int, instances: int) -> dict:
    """The ``config.pbtxt`` of the model from an image to its result.

    Args:
        manifest: The artefact's manifest.
        name: Name of the model.
        score: Objects with a higher score count.
        max_pixels: Largest image.
        instances: Images that are worked on at the same time.
    """
    return dict(
        name=name,
        backend='python',
        max_batch_size=0,
        input=[dict(name=IMAGE, data_type=Word('TYPE_UINT8'), dims=[-1])],
        output=[dict(name=key, data_type=Word(kind), dims=dims) for key, kind, dims in RESULTS[manifest['task']]],
        instance_group=[_instances(instances, 'cpu')],
        parameters=_parameters({'network': NETWORK.format(name), 'score': score, 'max_pixels': max_pixels}),
    )


def remarks(folder: str | os.PathLike) -> list[str]:
    """Properties of a repository made from an artefact that its user has to know."""
    manifest = read_manifest(folder)
    backend = manifest['backend']
    made = manifest.get('versions', {}).get(BACKENDS[backend].module, f'{BACKENDS[backend].title}, of unknown version')
    said = [f'The artefact was made and proved with {made}; the container should have this version or a newer one.']
    if backend == 'tensorrt':
        said = [f'The engine was built with {made}; the container must have this version, and a GPU of the same kind.']
    if backend == 'openvino' and manifest['precision'] != 'bf16':
        said.append(
            "Triton's OpenVINO backend has no setting for FP32. On CPUs with bfloat16 (AMX, AVX512-BF16) it takes "
            'that type, and results differ from those that were proved. Deploy for onnxruntime to avoid this.'
        )
    return said


def export_triton(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    name: str | None = None,
    max_batch: int = 8,
    instances: int = 1,
    device: str | None = None,
    score: float = 0.3,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
) -> list[Path]:
    """Write an artefact into a model repository of Triton.

    Args:
        folder: The artefact's folder.
        out: The repository; other models in it stay.
        name: Name of the model; by default that of the folder.
        max_batch: Images that Triton may put together.
        instances: Copies of the network that run at the same time. Twice as many images are prepared meanwhile.
        device: ``'cpu'`` or ``'cuda'``; by default that of the backend.
        score: Objects with a higher score count.
        max_pixels: Largest image, height times width.
        overwrite: Whether models of the same name are replaced.

    Returns:
        The folders of both models.

    Raises:
        ConfigError: If an option cannot be used, or the repository has such a model already.
        DeployError: If the artefact is damaged, or Triton has no backend for it.
    """
    folder, out = Path(folder), Path(out)
    manifest = read_manifest(folder)
    backend = BACKENDS[manifest['backend']]
    if backend.name not in TRITON_BACKENDS:
        raise DeployError(
            f'Triton has no backend for {backend.title}.',
            expected=f'an artefact for {", ".join(TRITON_BACKENDS)}',
            fix='export again with tools/deploy.py --backend and one of these',
        )
    name = name or re.sub(r'\W+', '_', folder.resolve().name).strip('_') or 'model'
    if not re.fullmatch(r'[A-Za-z0-9][\w.-]*', name, re.ASCII):
        raise ConfigError(f'--name {name}: this cannot be the name of a model.', fix='use letters, digits and _')
    for option, value in (('max-batch', max_batch), ('instances', instances), ('max-pixels', max_pixels)):
        if value < 1:
            raise ConfigError(f'--{option} {value} is too small.', expected='a number from 1 on', fix='correct it')
    if not 0 <= score < 1:
        raise ConfigError(f'--score {score:g} is out of range.', expected='0 or more, below 1', fix='correct it')
    device = device or backend.devices[0]
    if device not in backend.devices:
        raise ConfigError(
            f'{backend.title} does not run on {device} here.',
            expected=f'one of {", ".join(backend.devices)}',
            fix='correct --device',
        )
    models = [out / NETWORK.format(name), out / name]
    there = [str(path) for path in models if path.exists()]
    if there and not overwrite:
        raise ConfigError(
            f'The repository already has {" and ".join(there)}.', fix='choose another --name, or add --overwrite'
        )
    network, whole = models
    with atomic_dir(network) as temporary:
        config = network_config(manifest, network.name, max_batch=max_batch, instances=instances, device=device)
        (temporary / 'config.pbtxt').write_text(to_pbtxt(config), encoding='utf-8')
        (temporary / '1').mkdir()
        for file in filter(None, (manifest['engine'], backend.weights_file)):
            shutil.copyfile(folder / file, temporary / '1' / FILES[Path(file).suffix])
    with atomic_dir(whole) as temporary:
        config = whole_config(manifest, name, score=score, max_pixels=max_pixels, instances=2 * instances)
        (temporary / 'config.pbtxt').write_text(to_pbtxt(config), encoding='utf-8')
        (temporary / '1').mkdir()
        (temporary / '1' / 'model.py').write_text(MODEL.format(version=__version__), encoding='utf-8')
        shutil.copyfile(folder / MANIFEST, temporary / '1' / MANIFEST)
    return models
