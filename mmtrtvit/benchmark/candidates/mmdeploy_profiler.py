"""An engine as ``tools/profiler.py`` of mmdeploy times it, to see how far its figure is from that of ``engine``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmdeploy.apis.utils import build_task_processor
from mmdeploy.utils import load_config
from mmdeploy.utils.timer import TimeCounter

from ...latency import Milliseconds
from ...runtime.manifest import read_manifest
from .artefacts import artefact_facts
from .candidate import Candidate, Loaded, Workshop

MODE = "mmdeploy's profiler"
"""The ``mode`` of its rows; their scope is ``engine``, as the time covers the same."""


def _with_tuples(value: Any) -> Any:
    """A part of a config, with the tuples that JSON has turned into lists: transforms refuse lists of numbers."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(value) if all(isinstance(item, (int, float)) for item in value) else list(map(_with_tuples, value))
    return value


def profiler_candidate(folder: str | os.PathLike, image: str | np.ndarray, device: str) -> Candidate:
    """An artefact of ``tools/deploy.py`` in mmdeploy's own wrapper, timed by mmdeploy's own counter.

    As in the profiler of mmdeploy, each run reads the image and runs mmdeploy's test pipeline, and the time covers the
    call of the backend alone. It takes as many threads as mmdeploy's wrapper.

    Args:
        folder: The artefact.
        image: File of an image, or ``(H, W, 3)`` uint8, BGR.
        device: The device that it runs on.
    """
    facts = dict(artefact_facts(folder, 'engine', device), mode=MODE)

    def load_it(workshop: Workshop) -> Loaded:
        configs = [str(Path(folder, name)) for name in ('deploy_config.json', 'model_config.json')]
        deploy_cfg, model_cfg = load_config(*configs)
        model_cfg.merge_from_dict(_with_tuples(dict(test_pipeline=model_cfg.test_pipeline)))
        task = build_task_processor(model_cfg, deploy_cfg, device)
        engine = str(Path(folder, read_manifest(folder)['engine']))
        model = task.build_backend_model([engine], data_preprocessor_updater=task.update_data_preprocessor).eval()
        counted = TimeCounter.names[facts['backend']]

        def prepared():
            return task.create_input([image], data_preprocessor=model.data_preprocessor)

        def run() -> Milliseconds:
            data, _ = prepared()
            with TimeCounter.activate(warmup=1, log_interval=10**9, with_sync=True):
                model(**data, mode='predict')
            return Milliseconds(1e3 * counted['execute_time'][-1])

        data, batch = prepared()
        model(**data, mode='predict')  # the run that mmdeploy's counter leaves out
        return Loaded(run, facts=dict(shape=list(batch.shape)))

    return Candidate(facts, load_it)
