"""Latency of networks on this machine's CPU, in ONNX Runtime and OpenVINO, for the validation of predictions."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mmtrtvit.benchmark.rows import write_rows
from mmtrtvit.latency import measure
from mmtrtvit.machine import machine
from mmtrtvit.roofline.this_cpu import measure_cpu
from mmtrtvit.runtime.backends import open_session

from .networks import export, graph_path

NETWORKS: tuple[tuple[str, int], ...] = (
    *((f'trtvit-{arch}', 224) for arch in 'abcd'),
    *((f'nextvit-{arch}', 224) for arch in 'sbl'),
    *((f'efficientformer-{arch}', 224) for arch in ('l1', 'l3', 'l7')),
    ('turbovit-base', 224),
    ('trtvit-a', 384),
    ('nextvit-s', 384),
    ('resnet50', 224),
    ('mobilenetv2_100', 224),
    ('vit_small_patch16_224', 224),
    ('convnext_small', 224),
    ('swin_tiny_patch4_window7_224', 224),
    ('resnet18', 224),
    ('resnet101', 224),
    ('resnext50_32x4d', 224),
    ('regnety_004', 224),
    ('mobilenetv1_100', 224),
    ('mobilenetv3_large_100', 224),
    ('efficientnet_b0', 224),
    ('ghostnet_100', 224),
    ('repvit_m1', 224),
    ('edgenext_small', 256),
    ('mobilevitv2_100', 256),
    ('poolformer_s12', 224),
    ('pvt_v2_b1', 224),
    ('deit_tiny_patch16_224', 224),
    ('mixer_s16_224', 224),
    ('xcit_tiny_12_p16_224', 224),
    ('coat_lite_mini', 224),
    ('efficientvit_b1', 224),
    ('hrnet_w18_small_v2', 224),
    ('inception_v3', 299),
    ('densenet121', 224),
)
"""Name and size of each network."""

RUNTIMES = ('onnxruntime', 'openvino')


def export_networks(folder: str | os.PathLike) -> None:
    """Export the networks with their weights into a folder, those that are not there yet."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, size in NETWORKS:
        path = graph_path(folder, name, size)
        if not path.is_file():
            export(name, size, path, weights=True)
            print(path.name, flush=True)


def measure_networks(
    folder: str | os.PathLike, out: str | os.PathLike, names: Sequence[tuple[str, int]] = NETWORKS
) -> None:
    """Measure this CPU, then the networks one by one, each in all runtimes in turn.

    Args:
        folder: Their ONNX files.
        out: The JSON file to write: ``cpu`` and ``rows``.
        names: Name and size of each.
    """
    threads = torch.get_num_threads()
    cpu = dataclasses.asdict(measure_cpu())
    rows = []
    for name, size in names:
        path = graph_path(folder, name, size)
        inputs = {'image': np.random.default_rng(0).random((1, 3, size, size), np.float32)}
        sessions = {runtime: open_session(runtime, path, threads=threads) for runtime in RUNTIMES}
        subjects = {runtime: functools.partial(session.run, inputs) for runtime, session in sessions.items()}
        found = measure(
            subjects,
            scope='network',
            settings=dict(network=name, size=size, batch=1, precision='fp32', threads=threads),
            warmup_seconds=0.4,
            min_runs=15,
            min_seconds=1.2,
            max_seconds=8,
            until_steady=False,
        )
        rows += [
            {**row.to_dict(), 'runtime': row.name, 'values': [round(value, 3) for value in row.values]} for row in found
        ]
        print(name, size, *(f'{row.name} {row.median:.1f} ms' for row in found), flush=True)
    write_rows({'cpu': [cpu], 'rows': rows, 'machine': [machine()]}, out)
