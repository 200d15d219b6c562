"""Networks with one image input that can be measured: ours, any registered backbone, timm's, and ONNX files."""

import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn as nn
from mmengine.registry import MODELS, init_default_scope

from ..atomic import atomic_file
from ..config import load_config
from ..errors import ConfigError, DataError, DeployError
from ..models import PyramidBackbone
from ..zoo.complexity import count_complexity
from ..zoo.families import FAMILIES

OPSET = 17
"""The first opset with ``LayerNormalization`` as one node."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A network that can be built.

    Attributes:
        facts: Fields of a row: name, scope, family, arch, origin, source.
        make: Builds it, as it is trained.
        onnx: The ONNX file, if the network is one; it cannot run in PyTorch then.
    """

    facts: dict
    make: Callable[[], nn.Module] | None = None
    onnx: Path | None = None
    _counted: dict[tuple[int, ...], dict] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def build(self) -> nn.Module:
        """The network in evaluation mode, in the form that is deployed."""
        assert self.make is not None
        network = self.make()
        network.eval()  # mmdet's own classes return nothing
        if hasattr(network, 'switch_to_deploy'):
            network.switch_to_deploy()
        return network

    def count(self, shape: Sequence[int]) -> dict:
        """``params`` (as trained) and ``macs`` of a run on an input of this shape; empty for an ONNX file."""
        if self.make is None:
            return {}
        if tuple(shape) not in self._counted:
            self._counted[tuple(shape)] = self._count(shape)
        return self._counted[tuple(shape)]

    def _count(self, shape: Sequence[int]) -> dict:
        with torch.device('meta'):
            params = sum(parameter.numel() for parameter in self.make().parameters())
        try:
            with torch.device('meta'):
                counted = count_complexity(self.build(), tuple(shape))
        except (NotImplementedError, RuntimeError):  # it looks at values, which the meta device does not have
            counted = count_complexity(self.build(), tuple(shape))
        return dict(params=params, macs=counted.total_macs)


def our_backbones(families: Sequence[str] | None, archs: Sequence[str] | None) -> list[Source]:
    """The backbones of this package.

    Args:
        families: Names in :data:`~mmtrtvit.zoo.families.FAMILIES`; by default all.
        archs: Their sizes; by default all.

    Raises:
        ConfigError: If a family is unknown, or none of the families has a size that is named.
    """
    families = list(FAMILIES) if families is None else families
    for family in families:
        if family not in FAMILIES:
            raise ConfigError(
                f'--families {family} is unknown.', expected=f'some of {", ".join(FAMILIES)}', fix='correct --families'
            )
    sizes = {arch for family in families for arch in FAMILIES[family].archs}
    for arch in archs or ():
        if arch not in sizes:
            raise ConfigError(
                f'--archs {arch}: none of the families has this size.',
                expected=f'some of {", ".join(sorted(sizes))}',
                fix='correct --archs',
            )

    def source(family: str, arch: str) -> Source:
        # As constructed, not as initialised for training: there every residual branch would end in zeros.
        return Source(
            dict(name=FAMILIES[family].name(arch), scope='backbone', family=family, arch=arch, origin='ours'),
            lambda: FAMILIES[family].type(arch=arch),
        )

    known = [(family, arch) for family in families for arch in FAMILIES[family].archs if arch in (archs or sizes)]
    return [source(*network) for network in dict.fromkeys(known)]


def config_backbone(path: str | os.PathLike) -> Source:
    """The backbone of a config of mmdet or mmseg.

    Raises:
        ConfigError: If the config cannot be read or has no backbone.
    """
    config = load_config(path)
    settings = config.model.get('backbone') if 'model' in config else None
    if settings is None:
        raise ConfigError(
            f'{path} has no model.backbone.', expected='a config of mmdet or mmseg', fix='name another config'
        )

    def build() -> nn.Module:
        init_default_scope(config.default_scope)
        return MODELS.build(dict(settings, init_cfg=None, _scope_=config.default_scope))

    kind = settings['type'] if isinstance(settings['type'], str) else settings['type'].__name__
    name = f'{kind.rpartition(".")[2]} of {Path(path).stem}'
    return Source(dict(name=name, scope='backbone', origin='registry', source=Path(path).name), build)


def timm_backbone(name: str) -> Source:
    """A model of timm as a backbone, with the maps of all its stages (``features_only``).

    Raises:
        ConfigError: If timm is missing or has no such model.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f'--timm {name} needs the package timm, which is not installed.',
            expected='the environment of `make reference`, which has it',
            fix='pip install timm torchvision, or leave --timm out',
        ) from error
    if name.partition('.')[0] not in timm.list_models():
        near = ', '.join(timm.list_models(f'*{name[:6]}*')[:8])
        raise ConfigError(
            f'timm {timm.__version__} has no model {name}.',
            expected=near or 'a name in timm.list_models()',
            fix='correct --timm',
        )
    facts = dict(name=f'{name} (timm)', scope='backbone', origin='timm', source=name)
    return Source(facts, lambda: timm.create_model(name, features_only=True, exportable=True))


def onnx_file(path: str | os.PathLike) -> Source:
    """A network in an ONNX file, with one input of four sides.

    Raises:
        DataError: If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f'There is no file {path}.', expected='an ONNX file', fix='name another file')
    return Source(dict(name=path.stem, scope='network', origin='file', source=path.name), onnx=path)


def export_backbone(backbone: nn.Module, image: torch.Tensor, path: str | os.PathLike) -> Counter[str]:
    """Export a backbone in its deploy form to ONNX, by itself and for one input shape.

    Args:
        backbone: The backbone, in its deploy form.
        image: ``(B, 3, H, W)``, the input to trace with.
        path: The file to write.

    Returns:
        How often each operator occurs.

    Raises:
        DeployError: If a LayerNorm did not become one node or a BatchNorm was left in a backbone of this package.
    """
    import onnx

    ours = isinstance(backbone, PyramidBackbone)
    with atomic_file(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer and the exporter; the nodes are checked below
        torch.onnx.export(
            backbone,
            (image,),
            str(temporary),
            opset_version=OPSET,
            input_names=['image'],
            output_names=[f'stride{stride}' for stride in backbone.strides] if ours else None,
            dynamo=False,
        )
        operators = Counter(node.op_type for node in onnx.load(temporary).graph.node)
        if not ours:
            return operators
        norms = sum(isinstance(module, nn.LayerNorm) for module in backbone.modules())
        if operators['LayerNormalization'] != norms or operators['BatchNormalization']:
            raise DeployError(
                f'The exported graph has {operators["LayerNormalization"]} LayerNormalization and '
                f'{operators["BatchNormalization"]} BatchNormalization nodes.',
                expected=f'{norms} and none',
                fix='call switch_to_deploy() before the export; install the torch of requirements/torch.txt',
            )
    return operators
