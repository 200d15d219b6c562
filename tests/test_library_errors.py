"""Errors of libraries that the user can fix are told as such; defects keep their own."""

import errno
import os
import re
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import Registry
from PIL import Image

from mmtrtvit import errors
from mmtrtvit.errors import ConfigError, DataError, UserError, command_line, explain, library_errors_explained
from mmtrtvit.known_errors import KNOWN_ERRORS


def raised_by(work):
    with pytest.raises(Exception) as caught, library_errors_explained():
        work()
    return caught.value


def test_a_worker_of_a_data_loader_names_the_image():
    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            raise OSError('failed to load image: train2017/000042.jpg')

    error = raised_by(
        lambda: list(torch.utils.data.DataLoader(Images(), num_workers=1, multiprocessing_context='fork'))
    )
    assert isinstance(error, DataError) and 'The image train2017/000042.jpg cannot be read.' in str(error)


def test_a_missing_file_is_named(tmp_path):
    error = raised_by((tmp_path / 'none.json').read_text)
    assert isinstance(error, DataError) and f'There is no file {tmp_path / "none.json"}.' in str(error)
    assert 'MMTRTVIT_DATA_ROOT' in str(error)


def test_an_unregistered_type_is_named():
    error = raised_by(lambda: Registry('model').build(dict(type='NoSuchDetector')))
    assert isinstance(error, ConfigError) and 'The type NoSuchDetector of the config' in str(error)


class Part:
    def __init__(self, width):
        self.width = width


def truncated_image(tmp_path):
    path = tmp_path / 'cut.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    Image.open(path).load()


def other_groups():
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    two = torch.optim.SGD([dict(params=[weights[0]]), dict(params=[weights[1]])], lr=1)
    two.load_state_dict(torch.optim.SGD(weights, lr=1).state_dict())


def other_images(tmp_path):
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dict(images=[dict(id=1)], annotations=[], categories=[])
    coco.createIndex()
    coco.loadRes([dict(image_id=7, bbox=[0, 0, 1, 1], category_id=1, score=0.5)])


REAL = {
    'one image a batch': (
        lambda _: torch.nn.BatchNorm2d(4)(torch.zeros(1, 4, 1, 1)),
        ConfigError,
        r'input of \(1, 4, 1, 1\).*\n.*batch_size=2',
    ),
    'memory of the CPU': (lambda _: torch.empty(1 << 50), ConfigError, r'memory of this machine.*\n.*--amp'),
    'memory of the CPU, NumPy': (lambda _: np.empty(1 << 50), ConfigError, 'memory of this machine'),
    'memory of the CPU, Python': (lambda _: bytes(1 << 62), ConfigError, 'memory of this machine'),
    'images of different sizes': (
        lambda _: torch.stack([torch.zeros(2), torch.zeros(3)]),
        ConfigError,
        r'different sizes \(\[2\] at entry 0',
    ),
    'a small image': (lambda _: torch.nn.Conv2d(1, 1, 5)(torch.zeros(1, 1, 3, 3)), DataError, 'too small'),
    'channels': (
        lambda _: torch.nn.Conv2d(3, 8, 1)(torch.zeros(1, 4, 2, 2)),
        ConfigError,
        'A convolution for 3 channels got 4',
    ),
    'matrices': (lambda _: torch.nn.Linear(3, 8)(torch.zeros(1, 4)), ConfigError, '1x4 and 3x8'),
    'no samples': (
        lambda _: torch.utils.data.RandomSampler([], replacement=True),
        DataError,
        'A data set has no images',
    ),
    'no arrays': (lambda _: np.concatenate([]), DataError, 'A data set has no images'),
    'a label without a class': (
        lambda _: torch.nn.functional.cross_entropy(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 5)),
        DataError,
        'has the class 5',
    ),
    'a key of an annotation': (lambda _: {}['iscrowd'], DataError, 'lacks `iscrowd`'),
    'a mask': (lambda _: {}['mask'], DataError, 'learns masks'),
    'images of another file': (other_images, DataError, 'another annotation file'),
    'a truncated image': (truncated_image, DataError, 'cannot be read to its end'),
    'encoding': (lambda _: b'\xe9'.decode('ascii'), DataError, 'not in the encoding ascii'),
    'parameter groups': (lambda _: other_groups(), errors.CheckpointError, 'other parameter groups'),
    'shapes': (
        lambda _: torch.nn.Linear(3, 8).load_state_dict(torch.nn.Linear(2, 8).state_dict()),
        errors.CheckpointError,
        'weight has another shape',
    ),
    'a setting too many': (
        lambda _: Part(width=1, depth=2),
        ConfigError,
        'type Part of the config has no setting depth',
    ),
    'a setting too few': (lambda _: Part(), ConfigError, "type Part of the config lacks the setting 'width'"),
    'no CUDA in torch': (
        lambda _: torch._C._cuda_init() if torch.version.cuda else torch.zeros(1, device='cuda'),
        ConfigError,
        'CPU build|no NVIDIA GPU|driver is too old',
    ),
    'a folder for a file': (lambda path: path.read_text(), ConfigError, 'is a folder where a file'),
    'a name that is too long': (lambda path: (path / ('x' * 300)).write_text(''), ConfigError, 'cannot hold the name'),
}


@pytest.mark.parametrize(('work', 'kind', 'told'), REAL.values(), ids=REAL)
def test_an_error_as_the_library_raises_it(work, kind, told, tmp_path):
    if work is REAL['no CUDA in torch'][0] and torch.cuda.is_available():
        pytest.skip('torch sees a GPU')
    error = raised_by(lambda: work(tmp_path))
    assert type(error) is kind and re.search(told, str(error)) and 'Fix: ' in str(error)
    assert error.__cause__ is not None


PASTED = {
    'RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 10.76 GiB total capacity)': "GPU's memory",
    'OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity': "GPU's memory",
    'RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`': "GPU's memory",
    'RuntimeError: Unable to find a valid cuDNN algorithm to run convolution': 'cuDNN found no way',
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
    'to allocate 9437184 bytes. Error code 12 (Cannot allocate memory)': 'memory of this machine',
    'OSError: [Errno 12] Cannot allocate memory': 'memory of this machine',
    'MemoryError: ': 'memory of this machine',
    'RuntimeError: DataLoader worker (pid 4321) is killed by signal: Bus error. It is possible that dataloader\'s '
    'workers are out of shared memory. Please try to raise your shared memory limit.': '--shm-size',
    'RuntimeError: unable to write to file </torch_4321_1>': '--shm-size',
    'RuntimeError: DataLoader worker (pid 4321) is killed by signal: Killed. ': 'killed by signal: Killed',
    'RuntimeError: DataLoader worker (pid(s) 4321, 4322) exited unexpectedly': 'exited unexpectedly',
    'RuntimeError: received 0 items of ancdata': 'ulimit',
    'OSError: [Errno 24] Too many open files': 'ulimit',
    'DecompressionBombError: Image size (400000000 pixels) exceeds limit of 178956970 pixels': 'more pixels',
    'error: OpenCV(4.12.0) loadsave.cpp:80: error: (-215:Assertion failed) pixels <= CV_IO_MAX_IMAGE_PIXELS in '
    "function 'validateInputImageSize'": 'more pixels',
    'AssertionError: only one of size and size_divisor should be valid': 'data_preprocessor.size',
    "AttributeError: 'InstanceData' object has no attribute 'masks'": 'learns masks',
    "KeyError: Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File "
    "\"coco.py\", line 9, in parse\n    if ann['area'] <= 0\nKeyError: 'area'": 'lacks `area`',
    'ValueError: Initialize dataset with `reduce_zero_label` as True but when load annotation the `reduce_zero_label` '
    'is False': 'reduce_zero_label=True, but LoadAnnotations',
    "ValueError: new classes ['disc'] is not a subset of classes ('wall',) in METAINFO.": "['disc']",
    'ValueError: loaded state dict contains a parameter group that doesn\'t match the size of optimizer\'s group':
        'other parameter groups',
    'KeyError: "param \'initial_lr\' is not specified in param_groups[0] when resuming an optimizer"': 'schedule',
    'HTTPError: HTTP Error 404: Not Found': '404: Not Found',
    'URLError: <urlopen error [Errno -3] Temporary failure in name resolution>': 'Temporary failure in name resolution',
    "KeyError: 'TRTVit is not in the mmdet::model registry. Please check whether the value of `TRTVit` is correct': ":
        'type TRTVit of the config',
    "TypeError: class `MaskRCNN` in mmdet/models/detectors/mask_rcnn.py: MaskRCNN.__init__() got an unexpected keyword "
    "argument 'pretrained'": 'MaskRCNN of the config has no setting pretrained',
    'RuntimeError: Default process group has not been initialized, please make sure to call init_process_group.':
        'norm_cfg.type=BN',
    'RuntimeError: Expected to have finished reduction in the prior iteration before starting a new one.':
        'find_unused_parameters=True',
    'ImportError: libGL.so.1: cannot open shared object file: No such file or directory': 'opencv-python-headless',
    'ImportError: libgthread-2.0.so.0: cannot open shared object file: No such file or directory': 'headless',
    'ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header': 'NumPy',
    "AttributeError: module 'numpy' has no attribute 'bool'": 'NumPy',
    "ModuleNotFoundError: No module named 'torchvision'": 'init_cfg=None',
    'ImportError: Please run "pip install wandb" to install wandb': 'Fix: pip install wandb',
    'RuntimeError: albumentations is not installed': 'Fix: pip install albumentations',
    'ImportError: DeepSpeed is not installed or the installation is broken': '--variant fsdp',
    'AssertionError: Torch not compiled with CUDA enabled': 'CPU build',
    'RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU': '--gpus all',
    'RuntimeError: No CUDA GPUs are available': '--gpus all',
    'RuntimeError: The NVIDIA driver on your system is too old (found version 11040).': 'too old for this torch',
    'RuntimeError: CUDA error: no kernel image is available for execution on the device': 'another generation',
    'RuntimeError: nms_impl: implementation for device cuda:0 not found.': 'operator nms_impl of mmcv',
    'RuntimeError: CUDA error: invalid device ordinal': 'fewer GPUs than processes',
    'RuntimeError: CUDA error: device-side assert triggered': 'num_classes',
    'RuntimeError: Cannot re-initialize CUDA in forked subprocess.': 'mp_start_method=spawn',
    'DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, useIpv6: '
    'false, code: -98, name: EADDRINUSE, message: address already in use': 'PORT=29501',
    'DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1005, unhandled system error': 'NCCL_DEBUG=INFO',
    'DistStoreError: Timed out after 301 seconds waiting for clients. wait timeout after 300000ms': 'MASTER_ADDR',
    "KeyError: 'RANK'": 'tools/dist_train.sh',
    'TypeError: None is not a callable object': 'type="AdamW"',
    'OSError: [Errno 28] No space left on device': '--resume',
    "PermissionError: [Errno 13] Permission denied: 'work_dirs/x'": 'work_dirs/x cannot be written',
}  # fmt: skip


@pytest.mark.parametrize(('text', 'told'), PASTED.items(), ids=[text[:60] for text in PASTED])
def test_a_text_that_users_paste(text, told):
    name, _, message = text.partition(': ')
    error = explain(type(name, (Exception,), {'__str__': lambda self: message})())
    assert isinstance(error, UserError) and told in str(error) and 'Fix: ' in str(error)


def test_every_known_error_has_an_example():
    """A pattern that a later one would never reach, or that nothing matches, is dead."""
    texts = [*PASTED, 'OSError: failed to load image: x.jpg', "FileNotFoundError: No such file or directory: 'x'"]
    for work, *_ in REAL.values():
        with pytest.raises(Exception) as caught:
            work(Path('/'))
        texts.append(f'{type(caught.value).__name__}: {caught.value}')
    used = {next((k for k in KNOWN_ERRORS if re.search(k.pattern, text)), None) for text in texts}
    assert [known.pattern for known in KNOWN_ERRORS if known not in used] == []


def test_batches_are_described():
    text = str(explain(MemoryError(), 'batches of 2 images of 1333 x 800'))
    assert 'not enough for batches of 2 images of 1333 x 800.' in text and '--auto-scale-lr' in text


@pytest.mark.parametrize('error', [ValueError('a defect'), KeyError('bboxes'), DataError('told already', fix='this')])
def test_anything_else_passes_unchanged(error):
    def fail():
        raise error

    assert raised_by(fail) is error


def test_the_cause_is_kept():
    error = raised_by(Path('/no/such/file').read_text)
    assert isinstance(error, UserError) and isinstance(error.__cause__, FileNotFoundError)


@pytest.mark.parametrize(
    'error', [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), urllib.error.URLError('no route to host')], ids=repr
)
def test_every_command_line_explains_them(error, capsys, monkeypatch):
    monkeypatch.delenv('MMTRTVIT_DEBUG', raising=False)

    @command_line
    def main():
        raise error

    assert main() == 2
    assert 'Fix: ' in capsys.readouterr().err


def test_while_the_config_is_built_any_error_is_its_own():
    def fail():
        raise AssertionError

    with pytest.raises(ConfigError) as caught, library_errors_explained(stage=lambda: 'Building the network'):
        fail()
    said = str(caught.value)
    assert said.startswith('Building the network failed: AssertionError') and ': raise AssertionError)' in said
    assert re.search(r'test_library_errors\.py, line \d+: ', said) and 'MMTRTVIT_DEBUG=1' in said
