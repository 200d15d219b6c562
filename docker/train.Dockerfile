# Training, evaluation and export with the pinned stack:
#   docker build -f docker/train.Dockerfile -t mmtrtvit-train .
#   docker run --rm -v /path/to/data:/data mmtrtvit-train python tools/train.py configs/maskrcnn_trtvit_b_coco.py
# For GPUs, build on an image with the CUDA toolkit of torch.version.cuda, as its nvcc compiles mmcv's operators, and
# name the compute capability of the GPUs, as none is in sight while the image is built:
#   docker build -f docker/train.Dockerfile --build-arg BASE=nvidia/cuda:VERSION-devel-ubuntu24.04 \
#       --build-arg FORCE_CUDA=1 --build-arg TORCH_CUDA_ARCH_LIST=8.6 -t mmtrtvit-train .
ARG BASE=python:3.11-bookworm
FROM ${BASE}

# The libraries that OpenCV and matplotlib load, the compiler of mmcv, and Python where the image has none.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libgl1 libglib2.0-0 make \
    && (command -v pip || apt-get install --yes --no-install-recommends python3-dev python3-venv) \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /mmtrtvit
ARG FORCE_CUDA=0
ARG TORCH_CUDA_ARCH_LIST=""
ENV FORCE_CUDA=${FORCE_CUDA} TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST} PIP_NO_CACHE_DIR=1
ENV MMTRTVIT_DATA_ROOT=/data PATH=/mmtrtvit/.venv/bin:${PATH}
COPY . .
RUN make setup
CMD ["python", "tools/check_env.py"]
