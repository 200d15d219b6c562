"""mmdeploy's own ``tools/deploy.py``, ``test.py`` and ``profiler.py``, which its wheel lacks.

Makes the calls that these scripts of mmdeploy 1.3.1 and of onedl-mmdeploy 1.5 make, in their order, and starts the
processes that they start. A process that is started imports this file again, and through it nothing but mmdeploy.

    python mmdeploy_tools.py STEPS SETTINGS

STEPS are some of ``deploy``, ``test`` and ``profile``, joined by commas; SETTINGS is a JSON object. Results go to
``results.json`` in the work dir. If the variable ``GPU_IS_THE_CPU`` is set, a stand-in for TensorRT takes the CPU for a
GPU.
"""

import contextlib
import copy
import functools
import importlib.abc
import importlib.util
import json
import logging
import os
import sys
import types
from pathlib import Path

import torch
import torch.multiprocessing as mp
from mmdeploy.apis import build_task_processor, extract_model, torch2onnx, visualize_model
from mmdeploy.apis.core import PIPELINE_MANAGER
from mmdeploy.apis.utils import to_backend
from mmdeploy.apis.utils import utils as device_check
from mmdeploy.backend.sdk.export_info import export2SDK
from mmdeploy.utils import Backend, get_backend, get_ir_config, get_root_logger, load_config, target_wrapper
from mmdeploy.utils.timer import TimeCounter

WHERE_IT_IS_USED = 'mmtrtvit.deploy.mmdeploy_backend'


class _GpuIsTheCpu(importlib.abc.MetaPathFinder):
    """Puts the CPU in the place of the GPU once mmtrtvit's part for mmdeploy is imported, without importing it."""

    def find_spec(self, name, path=None, target=None):
        if name != WHERE_IT_IS_USED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            from mmtrtvit.deploy.engines import tensorrt_builder
            from mmtrtvit.runtime.backends.tensorrt import session

            gpu = types.ModuleType('torch')
            gpu.__getattr__ = functools.partial(getattr, torch)
            stream = types.SimpleNamespace(cuda_stream=4711, wait_stream=lambda other: None)
            gpu.cuda = types.SimpleNamespace(
                is_available=lambda: True,
                get_device_capability=lambda device: (8, 6),
                device=lambda device: contextlib.nullcontext(),
                stream=lambda stream: contextlib.nullcontext(),
                Stream=lambda device: stream,
                current_stream=lambda device: stream,
            )
            torch.Tensor.record_stream = lambda tensor, stream: None
            tensorrt_builder.torch = session.torch = gpu
            module.TensorRTManager.gpu = classmethod(lambda cls, device: 0)
            open_engine = session.TensorRTSession.__init__
            session.TensorRTSession.__init__ = lambda self, path, package, names, device: open_engine(
                self, path, package, names, 'cpu'
            )

        spec.loader.exec_module = exec_module
        return spec


if 'GPU_IS_THE_CPU' in os.environ:
    sys.meta_path.insert(0, _GpuIsTheCpu())
    device_check.check_backend_device = lambda deploy_cfg, device: None


def _in_a_process(target, args, kwargs, status) -> None:
    process = mp.Process(
        target=functools.partial(target_wrapper, target, logging.INFO, status), args=args, kwargs=kwargs
    )
    process.start()
    process.join()
    assert status.value == 0, f'{target.__name__} failed'


def deploy(deploy_cfg: str, model_cfg: str, checkpoint: str, image: str, work_dir: str) -> dict:
    """``tools/deploy.py DEPLOY_CFG MODEL_CFG CHECKPOINT IMAGE --work-dir WORK_DIR --device cpu --dump-info``."""
    mp.set_start_method('spawn', force=True)
    get_root_logger().setLevel(logging.INFO)
    PIPELINE_MANAGER.enable_multiprocess(True, [torch2onnx, extract_model])
    configs = load_config(deploy_cfg, model_cfg)
    export2SDK(*configs, work_dir, pth=checkpoint, device='cpu')
    status = mp.Value('d', 0, lock=False)
    onnx_file = get_ir_config(configs[0])['save_file']
    torch2onnx(image, work_dir, onnx_file, deploy_cfg, model_cfg, checkpoint, device='cpu')
    backend = get_backend(configs[0])
    PIPELINE_MANAGER.set_log_level(logging.INFO, [to_backend])
    if backend == Backend.TENSORRT:
        PIPELINE_MANAGER.enable_multiprocess(True, [to_backend])
    files = to_backend(
        backend,
        [os.path.join(work_dir, onnx_file)],
        work_dir=work_dir,
        deploy_cfg=configs[0],
        log_level=logging.INFO,
        device='cpu',
        uri='192.168.1.1:60000',
    )
    for name, model, kind in (('backend', files, backend), ('pytorch', [checkpoint], Backend.PYTORCH)):
        picture = os.path.join(work_dir, f'output_{name}.jpg')
        settings = dict(backend=kind, output_file=picture, show_result=False)
        _in_a_process(visualize_model, (model_cfg, deploy_cfg, model, image, 'cpu'), settings, status)
    return dict(files=list(files))


def _task(deploy_cfg: str, model_cfg: str):
    deploy_cfg, model_cfg = load_config(deploy_cfg, model_cfg)
    return build_task_processor(model_cfg, deploy_cfg, 'cpu')


def test(deploy_cfg: str, model_cfg: str, files: list, work_dir: str, checkpoint: str) -> dict:
    """``tools/test.py DEPLOY_CFG MODEL_CFG --model FILES --speed-test``, and the same for PyTorch."""
    task = _task(deploy_cfg, model_cfg)
    update = dict(data_preprocessor_updater=task.update_data_preprocessor)
    results = {}
    for name, build in (
        ('backend', lambda: task.build_backend_model(files, **update)),
        ('pytorch', lambda: task.build_pytorch_model(checkpoint)),
    ):
        loader = copy.deepcopy(task.model_cfg['test_dataloader'])
        loader.update(batch_size=1, dataset=task.build_dataset(loader['dataset']))
        model = build()
        runner = task.build_test_runner(model, work_dir, dataloader=task.build_dataloader(loader))
        with TimeCounter.activate(warmup=1, log_interval=2, with_sync=False, batch_size=1):
            results[name] = {key: float(value) for key, value in runner.test().items()}
    return results


def profile(deploy_cfg: str, model_cfg: str, files: list, image: str, shape: list) -> dict:
    """``tools/profiler.py DEPLOY_CFG MODEL_CFG IMAGE_DIR --model FILES --device cpu --shape SHAPE``."""
    task = _task(deploy_cfg, model_cfg)
    model = task.build_backend_model(files, data_preprocessor_updater=task.update_data_preprocessor).eval()
    name = get_backend(task.deploy_cfg).value
    before = len(TimeCounter.names[name]['execute_time'])
    with TimeCounter.activate(warmup=1, log_interval=20, with_sync=False, batch_size=1):
        for _ in range(3):
            data, _ = task.create_input([image], shape, data_preprocessor=getattr(model, 'data_preprocessor', None))
            model(**data, mode='predict')
    TimeCounter.print_stats(name)
    return dict(timed=len(TimeCounter.names[name]['execute_time']) - before)


def main() -> None:
    """Run the steps."""
    steps, given = sys.argv[1].split(','), json.loads(sys.argv[2])
    results = {}
    for step in steps:
        function = dict(deploy=deploy, test=test, profile=profile)[step]
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        results[step] = function(**{name: given[name] for name in names})
        given.update(results[step])
    Path(given['work_dir'], 'results.json').write_text(json.dumps(results))


if __name__ == '__main__':
    main()
