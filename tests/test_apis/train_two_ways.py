"""Train a small network for some steps, alone or as one of several processes: ``train_two_ways.py OUT KIND ...``.

A test runs it under torchrun, and calls :func:`train` itself for the single process. Everything is float64, and
BatchNorm is in evaluation mode: so the mean over the processes of their images' mean loss is that of the whole batch.
"""

import sys

import torch
import torch.distributed as dist
import torch.nn as nn
from mmengine.model import BaseModel, MMDistributedDataParallel, MMFullyShardedDataParallel
from mmengine.optim import OptimWrapper

import mmtrtvit  # noqa: F401  (registers the backbone)
from mmtrtvit.models import TRTViT

STEPS, BATCH, SIDE = 3, 4, 64


class Preprocessor(nn.Module):
    """Hands on what it gets: the data is made ready below."""

    def forward(self, data, training=False):
        return data


class Dense(BaseModel):
    """A TRT-ViT and a 1x1 convolution that predicts one number for each pixel of its last map."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = Preprocessor()
        arch = dict(widths=(16, 16, 32, 32), depths=(1, 1, 2, 2), block_types=('C', 'C', 'T', 'M'))
        self.backbone = TRTViT(arch, head_dim=16, norm_eval=True, zero_init_residual=False)
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        return {'loss': (self.head(self.backbone(inputs)[-1]) - data_samples).square().mean()}


def segmentor(path):
    """A segmentor of a config, without the dropout that would differ between the processes."""
    from mmengine.registry import init_default_scope

    from mmtrtvit.apis import load_config

    config = load_config(path)
    init_default_scope('mmseg')
    from mmseg.registry import MODELS

    arch = dict(_delete_=True, widths=(16, 16, 32, 32), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M'))
    changes = dict(backbone=dict(arch=arch, head_dim=16, norm_eval=True), neck=dict(in_channels=[16, 16, 32, 32]))
    changes['decode_head'] = dict(dropout_ratio=0.0)
    config.merge_from_dict(dict(model=changes))
    return MODELS.build(config.model)


def build(kind):
    torch.manual_seed(0)
    model = Dense() if kind == 'dense' else segmentor(kind)
    model.init_weights()
    model.double().train()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # those of neck and head as well
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return model


def batch_of(kind, step, of_rank):
    """This rank's share of the images and targets of a step."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)[of_rank]
    if kind == 'dense':
        targets = torch.randn(BATCH, 1, SIDE // 32, SIDE // 32, generator=generator, dtype=torch.float64)[of_rank]
        return dict(inputs=images, data_samples=targets)
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    truth = torch.randint(0, 7, (BATCH, 1, SIDE, SIDE), generator=generator)[of_rank]
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=seg), metainfo=dict(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE)))
        for seg in truth
    ]
    return dict(inputs=images, data_samples=samples)


class KeepsGradients(OptimWrapper):
    """Keeps the gradients of the first step."""

    def step(self, **kwargs):
        self.first = getattr(self, 'first', None) or {
            name: parameter.grad.detach().clone() for name, parameter in self.named if parameter.grad is not None
        }
        super().step(**kwargs)


def train(kind, wrapper=None, rank=0, world=1):
    """Return the averaged gradients of the first step, and the weights after all of them."""
    model = network = build(kind)
    network.data_preprocessor = Preprocessor()
    if wrapper == 'ddp':
        model = MMDistributedDataParallel(network, find_unused_parameters=False)
    elif wrapper == 'fsdp':
        model = MMFullyShardedDataParallel(
            network, sharding_strategy='SHARD_GRAD_OP', use_orig_params=True, device_id='cpu'
        )
    optim_wrapper = KeepsGradients(torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05))
    optim_wrapper.named = list(network.named_parameters())
    share = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
    losses = []
    for step in range(STEPS):
        losses.append(model.train_step(batch_of(kind, step, share), optim_wrapper)['loss'].item())
    if wrapper == 'fsdp':
        from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType

        # gradients are in pieces here: the weights say enough
        with FullyShardedDataParallel.state_dict_type(
            model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(offload_to_cpu=False)
        ):
            return dict(gradients={}, weights=model.state_dict(), losses=losses)
    return dict(gradients=optim_wrapper.first, weights=network.state_dict(), losses=losses)


if __name__ == '__main__':
    out, *kinds = sys.argv[1:]
    dist.init_process_group('gloo')
    results = {
        (kind, wrapper): train(kind, wrapper, dist.get_rank(), dist.get_world_size())
        for kind in kinds
        for wrapper in ('ddp', 'fsdp')
    }
    torch.save(results, f'{out}.{dist.get_rank()}')
    dist.destroy_process_group()
