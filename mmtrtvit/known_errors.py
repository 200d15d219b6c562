"""Errors that libraries raise deep down for what the user gave them, and what to tell the user instead.

Plain data; :func:`mmtrtvit.errors.library_errors_explained` reads it. The texts are those of PyTorch, OpenMMLab,
pycocotools, OpenCV and Pillow, as users paste them most often.
"""

from typing import NamedTuple


class KnownError(NamedTuple):
    """A text that libraries raise, and its explanation.

    Attributes:
        pattern: Regular expression, searched for in ``TypeName: text`` of the error. With a traceback of a data
            loader's worker in the text, the last match counts.
        kind: Name of the error of :mod:`mmtrtvit.errors` that is raised in its place.
        message: The explanation. ``{name}`` is the group of that name in the pattern; ``{load}`` describes the batches
            of the run.
        fix: The remedy, with the same fields.
    """

    pattern: str
    kind: str
    message: str
    fix: str


_LESS_MEMORY = (
    'a smaller batch with the learning rate scaled to it (--cfg-options train_dataloader.batch_size=1 '
    '--auto-scale-lr), smaller images in the pipelines, --amp, or --variant checkpointing, which recomputes '
    'features in the backward pass'
)
_VALIDATE = 'python tools/check_data.py CONFIG names every file and item'

KNOWN_ERRORS: tuple[KnownError, ...] = (
    # --- memory -----------------------------------------------------------------------------------------------------
    KnownError(
        r'CUDA out of memory|CUDA error: out of memory|CU(?:BLAS|DNN)_STATUS_ALLOC_FAILED|CUDA_ERROR_OUT_OF_MEMORY',
        'ConfigError',
        "The GPU's memory is not enough for {load}.",
        f'{_LESS_MEMORY}; nvidia-smi shows whether another program fills it',
    ),
    KnownError(
        r'DefaultCPUAllocator: |Unable to allocate [\d.]+ \w+ for an array|Cannot allocate memory|MemoryError: ?$'
        r'|Insufficient memory|Failed to allocate \d+ bytes',
        'ConfigError',
        'The memory of this machine is not enough for {load}.',
        f'{_LESS_MEMORY}; fewer processes that load images (train_dataloader.num_workers) need less as well',
    ),
    KnownError(
        r'Bus error|out of shared memory|unable to (?:open|allocate|resize|write to) (?:a )?(?:file|shared memory)\b',
        'ConfigError',
        'The processes that load images ran out of shared memory (/dev/shm).',
        'in a container start it with --shm-size=8g or --ipc=host; or load in the main process: --cfg-options '
        'train_dataloader.num_workers=0 train_dataloader.persistent_workers=False',
    ),
    KnownError(
        r'Too many open files|received 0 items of ancdata',
        'ConfigError',
        'The processes that load images have too many files open.',
        'raise the limit (ulimit -n 65536), or lower train_dataloader.num_workers',
    ),
    KnownError(
        r'DataLoader worker \(pid(?:\(s\))? (?P<pid>[\d, ]+)\) '
        r'(?P<how>is killed by signal: \w[\w ]*|exited unexpectedly)',
        'ConfigError',
        'A process that loads images (pid {pid}) {how}: as a rule the memory of the machine or container was full.',
        'lower train_dataloader.num_workers and batch_size; with num_workers=0 persistent_workers=False an error of '
        'the data is shown where it happens',
    ),
    KnownError(
        r'pixels\)? exceeds limit of \d+ pixels|CV_IO_MAX_IMAGE_(?:PIXELS|WIDTH|HEIGHT)',
        'DataError',
        'An image has more pixels than OpenCV or Pillow accept.',
        'cut it into tiles, or set the environment variable OPENCV_IO_MAX_IMAGE_PIXELS; ' + _VALIDATE,
    ),
    # --- batches ----------------------------------------------------------------------------------------------------
    KnownError(
        r'Expected more than 1 value per channel when training, got input size torch\.Size\(\[(?P<size>[\d, ]+)\]\)',
        'ConfigError',
        'BatchNorm needs more than one value per channel in training, and got an input of ({size}): a batch of one '
        'image, pooled to one pixel (UperNet, PSPNet, DeepLab).',
        'give 2 or more images a batch (--cfg-options train_dataloader.batch_size=2), leave out a last batch of one '
        'image (train_dataloader.drop_last=True), or normalise over groups in the head (norm_cfg=dict(type="GN", '
        'num_groups=32))',
    ),
    KnownError(
        r'stack expects each tensor to be equal size, but got (?P<sizes>[^\n]+)',
        'ConfigError',
        'The images of a batch have different sizes ({sizes}).',
        'pad them: size or pad_size_divisor of model.data_preprocessor; or crop all to one size in train_pipeline',
    ),
    KnownError(
        r'only one of size and size_divisor should be valid',
        'ConfigError',
        'The data preprocessor of the segmentor is not told to which size it pads the images of a batch.',
        'set model.data_preprocessor.size=(height, width), usually the crop size',
    ),
    KnownError(
        r'Calculated padded input size per channel: (?P<size>\([^)]*\))|Output size is too small'
        r'|Input and output sizes should be greater than 0',
        'DataError',
        'An image is too small for the network.',
        'leave small images out (filter_cfg=dict(min_size=32)), or resize to more pixels in the pipelines',
    ),
    KnownError(
        r'num_samples should be a positive integer value, but got num_samples=0|need at least one array to concatenate'
        r'|ZeroDivisionError: integer (?:division or )?modulo by zero',
        'DataError',
        'A data set has no images.',
        'correct data_root, ann_file, data_prefix, metainfo and filter_cfg of the config; ' + _VALIDATE,
    ),
    # --- annotations ------------------------------------------------------------------------------------------------
    KnownError(
        r"KeyError: '(?P<what>area|iscrowd|bbox|segmentation|image_id|category_id|file_name|height|width|id"
        r"|annotations|images|categories)'",
        'DataError',
        'The annotation file lacks `{what}`, or some of its entries do.',
        f'{_VALIDATE}; tools/convert_dataset.py SOURCE --out DIR fills in areas, `iscrowd` and sizes',
    ),
    KnownError(
        r"KeyError: '(?P<what>mask|gt_masks)'|has no attribute '(?P<mask>masks)'",
        'DataError',
        'The network learns masks, and objects of the data set have none.',
        'set with_mask=True in LoadAnnotations, add masks to the annotations, or train a detector on boxes '
        '(configs/fasterrcnn_*, configs/retinanet_*)',
    ),
    KnownError(
        r'Results do not correspond to current coco set',
        'DataError',
        'The evaluator reads another annotation file than the data set: images of the one are not in the other.',
        'give val_evaluator.ann_file (test_evaluator.ann_file) the file of val_dataloader.dataset (test_dataloader)',
    ),
    KnownError(
        r'failed to load image: (?P<what>[^\n]+)',
        'DataError',
        'The image {what} cannot be read.',
        'replace the file, or take it out of the annotation file',
    ),
    KnownError(
        r'image file is truncated|cannot identify image file|broken (?:PNG|data stream)|unrecognized data stream',
        'DataError',
        'An image or label map cannot be read to its end.',
        'replace the file; ' + _VALIDATE,
    ),
    KnownError(
        r'Target (?P<what>\d+) is out of bounds',
        'DataError',
        'A label map has the class {what}, which the network does not have.',
        'set num_classes of the heads and `metainfo` of the data set as the label maps have them; for pixels to ignore '
        'the label is 255, or 0 with reduce_zero_label=True',
    ),
    KnownError(
        r'Initialize dataset with `reduce_zero_label` as (?P<what>\w+) but',
        'ConfigError',
        'The data set has reduce_zero_label={what}, but LoadAnnotations of its pipeline has the opposite.',
        'set `reduce_zero_label` alike in both',
    ),
    KnownError(
        r'new classes (?P<what>.+) is not a subset of classes',
        'ConfigError',
        'The data set of the config does not know some of the classes {what}.',
        "use type='BaseSegDataset' for a data set with classes of its own",
    ),
    KnownError(
        r"UnicodeDecodeError: '(?P<codec>[\w-]+)' codec can't decode",
        'DataError',
        'A text file of the data set is not in the encoding {codec}.',
        'save it as UTF-8 and set the environment variable PYTHONUTF8=1',
    ),
    # --- checkpoints and optimisers ---------------------------------------------------------------------------------
    KnownError(
        r"loaded state dict (?:has a different number of parameter groups|contains a parameter group that doesn't)",
        'CheckpointError',
        'The optimizer of the checkpoint has other parameter groups than this run.',
        'resume with the config and the variants of that run, or start from its weights: --cfg-options load_from=FILE',
    ),
    KnownError(
        r"param '?'?initial_lr'? is not specified in param_groups",
        'CheckpointError',
        'The checkpoint does not have the state that the schedule goes on from.',
        'start from its weights: --cfg-options load_from=FILE',
    ),
    KnownError(
        r'size mismatch for (?P<what>[\w.]+): ',
        'CheckpointError',
        'The checkpoint does not belong to this network: {what} has another shape.',
        'give the config that it was trained with',
    ),
    KnownError(
        r'HTTP Error (?P<what>\d+[^\n>]*)|<urlopen error (?P<reason>[^\n>]+)>'
        r'|Max retries exceeded with url: (?P<url>\S+)'
        r'|(?P<name>Temporary failure in name resolution|Name or service not known|getaddrinfo failed)',
        'CheckpointError',
        'Pretrained weights could not be downloaded: {what}{reason}{url}{name}.',
        'download them elsewhere and set init_cfg.checkpoint of the config to the local file, or start without: '
        '--cfg-options model.backbone.init_cfg=None',
    ),
    # --- configs ----------------------------------------------------------------------------------------------------
    KnownError(
        r"(?P<what>[^\s'\"]+) is not in the (?P<registry>[\w:]*) ?registry",
        'ConfigError',
        'The type {what} of the config is not registered.',
        "correct its name, or import what registers it: custom_imports = dict(imports=['mmtrtvit']); a type of another "
        'package is written with its name in front (mmpretrain.TIMMBackbone), and the package has to be installed',
    ),
    KnownError(
        r'None is not a callable object',
        'ConfigError',
        'A type in the config (of an optimizer, a scheduler or the like) is not registered.',
        'correct its name, such as type="AdamW"',
    ),
    KnownError(
        r"(?P<what>\w+)\.__init__\(\) got an unexpected keyword argument '(?P<key>\w+)'",
        'ConfigError',
        'The type {what} of the config has no setting {key}.',
        'correct or remove it',
    ),
    KnownError(
        r'(?P<what>\w+)\.__init__\(\) missing \d+ required (?:positional|keyword-only) arguments?: (?P<key>[^\n]+)',
        'ConfigError',
        'The type {what} of the config lacks the setting {key}.',
        'add it',
    ),
    KnownError(
        r'weight of size (?P<weight>\[[\d, ]+\]), expected input(?P<size>\[[\d, ]+\]) to have (?P<wanted>\d+) '
        r'channels, but got (?P<got>\d+)',
        'ConfigError',
        'A convolution for {wanted} channels got {got} (its weights are {weight}, its input {size}).',
        'set in_channels of neck or head to those of the part before it (print(backbone.out_channels)); images have '
        'three channels unless the pipeline says otherwise',
    ),
    KnownError(
        r'mat1 and mat2 shapes cannot be multiplied \((?P<what>[^)]+)\)',
        'ConfigError',
        'Two parts of the network do not fit together: matrices of {what} cannot be multiplied.',
        'set in_channels, embed_dims or roi_feat_size of one to those of the part before it',
    ),
    KnownError(
        r'SyncBatchNorm expected input tensor to be on|Default process group has not been initialized',
        'ConfigError',
        'The config has SyncBatchNorm, which works across several processes with a GPU each.',
        'set norm_cfg.type=BN wherever the config has SyncBN, or train with tools/dist_train.sh',
    ),
    KnownError(
        r'Expected to have finished reduction in the prior iteration',
        'ConfigError',
        'Some parameters of the network got no gradient in one of the processes.',
        '--cfg-options find_unused_parameters=True',
    ),
    # --- packages ---------------------------------------------------------------------------------------------------
    KnownError(
        r'lib(?:GL|GLX|EGL|gthread-2\.0|glib-2\.0|SM|Xext|Xrender)\.so[.\d]*: cannot open shared object',
        'ConfigError',
        'OpenCV needs libraries of a desktop, which this machine (a slim container) does not have.',
        'pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless; or install them: '
        'apt-get install libgl1 libglib2.0-0',
    ),
    KnownError(
        r'numpy\.dtype size changed|compiled using NumPy 1\.x cannot be run|numpy\.core\.multiarray failed to import'
        r"|module 'numpy' has no attribute '\w+'|_ARRAY_API not found",
        'ConfigError',
        'A package was built for another version of NumPy than the one that is installed.',
        'install it again for this NumPy (pip install --force-reinstall --no-cache-dir PACKAGE), or install the NumPy '
        'of requirements/base.txt',
    ),
    KnownError(
        r"No module named '(?P<what>torchvision)[\w.]*'",
        'ConfigError',
        'The config takes weights or operators from torchvision, which is not installed.',
        'pip install the torchvision that pairs with your torch, give a local file as init_cfg.checkpoint, or start '
        'without pretrained weights: --cfg-options model.backbone.init_cfg=None',
    ),
    KnownError(
        r'DeepSpeed is not installed',
        'ConfigError',
        'The strategy of the config is DeepSpeedStrategy, but DeepSpeed is not installed.',
        'pip install deepspeed, or train with --variant fsdp, which needs PyTorch only',
    ),
    KnownError(
        r'[Pp]lease (?:run|install it (?:by|via|with)|use|install)[ :]*["\'`]*(?P<what>(?:pip|mim) install [^\n"\'`]+)',
        'ConfigError',
        'The config needs a package that is not installed.',
        '{what}',
    ),
    KnownError(
        r'(?P<what>\b[\w-]+) is not installed',
        'ConfigError',
        'The config needs {what}, which is not installed.',
        'pip install {what}, or take out what needs it',
    ),
    # --- GPUs -------------------------------------------------------------------------------------------------------
    KnownError(
        r'Torch not compiled with CUDA enabled',
        'ConfigError',
        'This torch is a CPU build, and a GPU was asked for.',
        'install a CUDA build of torch (https://pytorch.org/get-started), or run on the CPU: CUDA_VISIBLE_DEVICES=-1',
    ),
    KnownError(
        r'Found no NVIDIA driver|No CUDA GPUs are available|no CUDA-capable device is detected',
        'ConfigError',
        'There is no NVIDIA GPU or driver that torch can use.',
        'install the driver and start a container with --gpus all; python tools/check_env.py shows what torch sees',
    ),
    KnownError(
        r'NVIDIA driver on your system is too old \(found version (?P<what>\d+)\)'
        r'|CUDA driver version is (?P<insufficient>insufficient)',
        'ConfigError',
        'The NVIDIA driver is too old for this torch.',
        'update the driver, or install the torch build for the CUDA version that nvidia-smi shows',
    ),
    KnownError(
        r'no kernel image is available for execution|invalid device function|not compatible with the current PyTorch',
        'ConfigError',
        'torch or the operators of mmcv were built for another generation of GPUs.',
        'install a torch build for this GPU and compile mmcv again: MMCV_WITH_OPS=1 pip install --no-build-isolation '
        '--force-reinstall --no-cache-dir --no-deps mmcv',
    ),
    KnownError(
        r'(?P<what>\w+): implementation for device (?P<device>\S+) not found',
        'ConfigError',
        'The operator {what} of mmcv was not compiled for {device}.',
        'compile mmcv where the CUDA toolkit (nvcc) is installed: MMCV_WITH_OPS=1 FORCE_CUDA=1 pip install '
        '--no-build-isolation --force-reinstall --no-cache-dir --no-deps mmcv',
    ),
    KnownError(
        r'invalid device ordinal',
        'ConfigError',
        'There are fewer GPUs than processes, or CUDA_VISIBLE_DEVICES hides some.',
        'give tools/dist_train.sh the number of GPUs that nvidia-smi shows, and correct CUDA_VISIBLE_DEVICES',
    ),
    KnownError(
        r'device-side assert triggered|illegal memory access',
        'DataError',
        'A kernel on the GPU was given an index beyond its array: as a rule a label that the network has no class for.',
        'compare num_classes with the classes of the data: ' + _VALIDATE + '; the environment variable '
        'CUDA_LAUNCH_BLOCKING=1, or a run on the CPU (CUDA_VISIBLE_DEVICES=-1), shows the place',
    ),
    KnownError(
        r'Cannot re-initialize CUDA in forked subprocess',
        'ConfigError',
        'A process that loads images uses the GPU, which a forked process cannot.',
        '--cfg-options env_cfg.mp_cfg.mp_start_method=spawn, or load without using the GPU',
    ),
    KnownError(
        r'Unable to find a valid cuDNN algorithm|CUDNN_STATUS_(?:NOT_SUPPORTED|EXECUTION_FAILED|INTERNAL_ERROR)',
        'ConfigError',
        'cuDNN found no way to run a convolution on this GPU: as a rule its memory is not enough for {load}.',
        _LESS_MEMORY,
    ),
    # --- several processes ------------------------------------------------------------------------------------------
    KnownError(
        r'(?i)address already in use|EADDRINUSE|failed to (?:listen|bind)',
        'ConfigError',
        'The port that the processes meet at is in use, perhaps by another training.',
        'choose another one: PORT=29501 tools/dist_train.sh CONFIG GPUS',
    ),
    KnownError(
        r"KeyError: '(?P<what>RANK|WORLD_SIZE|LOCAL_RANK|MASTER_ADDR|MASTER_PORT|SLURM_\w+|OMPI_\w+)'",
        'ConfigError',
        'A launcher was named by --launcher, but it has not started this process: {what} is not set.',
        'tools/dist_train.sh CONFIG GPUS (or tools/slurm_train.sh, dist_test.sh) starts it; leave out --launcher for '
        'one process',
    ),
    KnownError(
        r'Duplicate GPU detected|NCCL error|nccl\w*Error|ProcessGroupNCCL.*(?:timed out|timeout)'
        r'|(?:connect\(\)|wait|Socket|Store).{0,40}time(?:d )?out',
        'ConfigError',
        'The processes of the run could not reach each other, or two share a GPU.',
        'give one GPU to each process, correct MASTER_ADDR and PORT; NCCL_DEBUG=INFO shows details; another process '
        'may have ended first: its message is above',
    ),
    # --- files ------------------------------------------------------------------------------------------------------
    KnownError(
        r"No such file or directory: '?(?P<what>[^'\n]+)'?",
        'DataError',
        'There is no file {what}.',
        'check the data root (environment variable MMTRTVIT_DATA_ROOT) and the paths in the config',
    ),
    KnownError(
        r'No space left on device|Disk quota exceeded|File too large',
        'ConfigError',
        'The disk is full.',
        'make room or choose another --work-dir, then go on with --resume',
    ),
    KnownError(
        r"(?:Permission denied|Read-only file system): '?(?P<what>[^'\n]+)'?",
        'ConfigError',
        '{what} cannot be written or read: permission denied.',
        'change its permissions or choose another --work-dir, then go on with --resume',
    ),
    KnownError(
        r"(?:IsADirectoryError|NotADirectoryError|FileExistsError): [^\n]*?: '(?P<what>[^'\n]+)'",
        'ConfigError',
        '{what} is a folder where a file is needed, or the other way round.',
        'correct the path',
    ),
    KnownError(
        r'(?:File name too long|Invalid argument): \'(?P<what>[^\'\n]+)\'',
        'ConfigError',
        'The file system cannot hold the name {what}.',
        'choose a shorter or plainer one',
    ),
)
"""Tried in this order."""
