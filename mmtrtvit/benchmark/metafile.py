"""``configs/metafile.yml``: what OpenMMLab's ``mim search`` shows of each config."""

from pathlib import Path

import yaml
from mmengine.config import Config

from ..models import TRTViT
from .complexity import detector_complexity

PATTERN = 'maskrcnn_trtvit_*_coco.py'
COLLECTION = 'TRT-ViT'
PAPER = {
    'Title': 'TRT-ViT: TensorRT-oriented Vision Transformer',
    'URL': 'https://arxiv.org/abs/2205.09579',
}
_METRICS = {'Object Detection': ('box AP', 'box_ap'), 'Instance Segmentation': ('mask AP', 'mask_ap')}
_HEAD = '# Made by tools/update_tables.py: parameters and FLOPs are counted, see mmtrtvit/benchmark/complexity.py.\n'


def metafile(root: Path) -> str:
    """The metafile of the detection configs.

    A published figure is not the result of a checkpoint of this project, which publishes none: its name says
    so, and its source stands beside it.

    Args:
        root: A checkout.
    """
    published = yaml.safe_load((root / 'docs/results/published.yaml').read_text())
    collection = {
        'Name': COLLECTION,
        'Paper': PAPER,
        'README': 'docs/trt_vit.md',
        'Metadata': {'Architecture': ['TRT-ViT', 'MixBlockC', 'BottleNeck', 'Mask R-CNN', 'FPN']},
    }
    return _HEAD + yaml.safe_dump(
        {
            'Collections': [collection],
            'Models': [_entry(path, published) for path in sorted((root / 'configs').glob(PATTERN))],
        },
        sort_keys=False,
        width=120,
    )


def _entry(path: Path, published: dict) -> dict:
    config = Config.fromfile(path)
    arch = config.model.backbone.arch
    params, macs = detector_complexity(config)
    entry = {
        'Name': path.stem,
        'In Collection': COLLECTION,
        'Config': f'configs/{path.name}',
        'Metadata': {
            'Epochs': config.train_cfg.max_epochs,
            'Parameters (M, stem and stage 1 frozen)': round(params / 1e6, 1),
            'FLOPs (G, multiply-accumulates at 1280x800)': round(macs / 1e9),
            'Widths and depths': TRTViT.arch_settings[arch]['provenance'],
            'Checkpoint': 'none is published',
        },
    }
    coco = published['models'].get(arch, {}).get('coco_maskrcnn_1x')
    if coco:
        entry['Metadata']['Source of the results'] = published['sources'][coco['source']]
        entry['Results'] = [
            {'Task': task, 'Dataset': 'COCO', 'Metrics': {f'{name} (published)': coco[key]}}
            for task, (name, key) in _METRICS.items()
        ]
    return entry
