"""Checkpoints of other implementations, made of a small network of ours under their names."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmtrtvit.weights.sources import CONVERTIBLE

SMALL = {
    'nextvit': dict(
        widths=(32, 32, 64, 64),
        ntb_widths=(128, 128, 128, 128),
        depths=(1, 2, 2, 1),
        block_types=('C', 'CT', 'CT', 'C'),
        provenance='own choice: for a test',
    ),
    'efficientformer': dict(
        widths=(8, 8, 16, 16),
        depths=(1, 1, 1, 3),
        attention_blocks=(0, 0, 0, 2),
        provenance='own choice: for a test',
    ),
    'turbovit': dict(
        widths=(8, 16, 32, 64),
        depths=(1, 2, 1, 1),
        heads=(1, 1, 2, 2),
        mask_units=(8, 4, 0, 0),
        provenance='own choice: for a test',
    ),
}
MODULES = {'nextvit': 'test_next_vit', 'efficientformer': 'test_efficientformer', 'turbovit': 'test_turbovit'}


def _names_elsewhere(family, source):
    """The names as the tests of a family's rules spell them out."""
    path = Path(__file__).with_name(f'{MODULES[family]}.py')
    spec = importlib.util.spec_from_file_location(f'{path.stem}_names', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if family == 'turbovit':
        return module.names_elsewhere(SMALL[family]['depths'])
    names = module.names_elsewhere(source, 'small')
    return names if isinstance(names, list) else names[0]


@pytest.fixture
def small(monkeypatch):
    """Every family has a size ``small`` of a few thousand parameters, beside one of its own."""
    for family, settings in SMALL.items():
        sizes = CONVERTIBLE[family].backbone.arch_settings
        for size in [name for name in sizes if name not in ('b', 'l1', 'base')]:
            monkeypatch.delitem(sizes, size)
        monkeypatch.setitem(sizes, 'small', settings)


@pytest.fixture
def elsewhere(small):
    """A network of ours with random values everywhere, and its tensors under the names of another implementation."""

    def make(family, source):
        # TurboViT's norm after the last stage follows the pooling elsewhere, and is not converted.
        model = CONVERTIBLE[family].backbone(arch='small', final_norm=family != 'turbovit').eval()
        generator = torch.Generator().manual_seed(0)
        ours = {
            # Small enough that nothing overflows, positive as variances are.
            name: (torch.rand(value.shape, generator=generator) + 0.1) * 0.1 if value.is_floating_point() else value
            for name, value in model.state_dict().items()
            if not name.startswith('output_norms.')
        }
        model.load_state_dict(ours, strict=False)
        names = _names_elsewhere(family, source)
        renamed = CONVERTIBLE[family].sources[source].rename(dict.fromkeys(names, torch.zeros(1)))
        dropped = dict.fromkeys(renamed.dropped, torch.ones(3))
        return model, {name: ours[renamed.mapped[name]] if name in renamed.mapped else dropped[name] for name in names}

    return make
