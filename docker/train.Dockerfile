# Training, evaluation and export with the pinned stack:
#   docker build -f docker/train.Dockerfile -t mmtrtvit-train .
#   docker run --rm -v /path/to/data:/data mmtrtvit-train python tools/train.py configs/maskrcnn_trtvit_b_coco.py
# For GPUs, build on an image with the CUDA toolkit of torch.version.cuda (it has nvcc, which mmcv's operators need) and
# an environment variable that has them compiled without a GPU in sight:
#   docker build -f docker/train.Dockerfile --build-arg BASE=nvidia/cuda:13.0.1-devel-ubuntu24.04 --build-arg FORCE_CUDA=1 .
ARG BASE=python:3.11-bookworm
FROM ${BASE}

# The libraries that OpenCV and matplotlib load, the compiler of mmcv, and Python where the image has none.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libgl1 libglib2.0-0 make \
    && (command -v pip || apt-get install --yes --no-install-recommends python3-dev python3-venv) \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /mmtrtvit
ARG FORCE_CUDA=0
ENV FORCE_CUDA=${FORCE_CUDA} PIP_NO_CACHE_DIR=1 MMTRTVIT_DATA_ROOT=/data VIRTUAL_ENV=/mmtrtvit/.venv
ENV PATH=/mmtrtvit/.venv/bin:${PATH}
COPY . .
RUN make setup
CMD ["python", "tools/check_env.py"]
