# Running exported networks: NumPy, headless OpenCV and ONNX Runtime; neither torch nor OpenMMLab.
#   docker build -f docker/runtime.Dockerfile -t mmtrtvit-runtime .
#   docker run --rm -v "$PWD/work_dirs:/work_dirs" mmtrtvit-runtime \
#       python -c 'from mmtrtvit.runtime import load; print(load("/work_dirs/trtvit_b_onnx")("/work_dirs/image.jpg").names)'
FROM python:3.11-slim-bookworm AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim-bookworm
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/mmtrtvit-*.whl)[runtime]" && rm -r /wheels
# Fails the build where the runtime lacks a part.
RUN python -c 'import cv2, onnxruntime; from mmtrtvit.runtime import load'
USER nobody
CMD ["python"]
