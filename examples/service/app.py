"""A web service for an artefact of tools/deploy.py: python examples/service/app.py DIR.

``POST /predict`` takes the file of an image, as the body or as the field ``file`` of a form, and answers with objects
or classes as JSON. ``GET /health`` and ``GET /model`` describe the service. Requests run in threads on one predictor.
"""

import argparse
import base64
import dataclasses
import functools
import sys
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request

from mmtrtvit.errors import UserError, command_line
from mmtrtvit.prediction.drawing import colours_of
from mmtrtvit.prediction.palette_png import palette_png
from mmtrtvit.runtime import ClassScores, Detections, LabelMap, Predictor, load
from mmtrtvit.runtime.masks import as_masks
from mmtrtvit.serving import decode_upload
from mmtrtvit.serving.uploads import MAX_BYTES, MAX_PIXELS


@dataclasses.dataclass(frozen=True)
class Settings:
    """Limits of the service.

    Attributes:
        score: Objects with a higher score count, unless a request sets another one.
        at_once: Images that are worked on at the same time.
        waiting: Requests that may wait for their turn; further ones are refused with status 503.
        max_bytes: Largest upload.
        max_pixels: Largest image, height times width.
    """

    score: float = 0.3
    at_once: int = 2
    waiting: int = 64
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS


class BodyLimit:
    """Refuse a body that is too large, before it is read as a whole."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        self.app, self.max_bytes, self.limit = app, max_bytes, max_bytes + (64 << 10)  # room for the frame of a form

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        read = 0

        async def counted() -> dict:
            nonlocal read
            message = await receive()
            read += len(message.get('body', b''))
            if read > self.limit:
                raise HTTPException(413, f'An upload may have {self.max_bytes} bytes at most.')
            return message

        await self.app(scope, counted, send)


def as_json(found: Detections | LabelMap | ClassScores) -> dict[str, Any]:
    """A result as JSON: ``objects`` with box, score and mask (compressed RLE), or ``classes`` with a PNG of the map.

    Of a classifier: ``classes``, the five most probable ones with their scores.
    """
    if isinstance(found, ClassScores):
        return {'classes': [{'name': name, 'score': score} for name, score in found.top()]}
    if isinstance(found, LabelMap):
        labels, counts = np.unique(found.labels, return_counts=True)
        classes = [
            {'name': name, 'label': label, 'share': count / found.labels.size}
            for name, label, count in zip(found.names, labels.tolist(), counts.tolist(), strict=True)
        ]
        content = palette_png(found.labels, colours_of(found.palette, len(found.classes)))
        return {'classes': classes, 'label_map_png': base64.b64encode(content).decode()}
    objects = [
        {'name': name, 'label': label, 'score': score, 'box': box}
        for name, label, score, box in zip(
            found.names, found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True
        )
    ]
    if found.masks is not None:
        for entry, mask in zip(objects, as_masks(found.masks).rle(), strict=True):
            entry['mask'] = mask
    return {'objects': objects}


def answer_to(predictor: Predictor, content: bytes, settings: Settings, score: float) -> dict[str, Any]:
    """The answer to the file of an image.

    Raises:
        UserError: If the file cannot be used.
    """
    image = decode_upload(content, max_bytes=settings.max_bytes, max_pixels=settings.max_pixels)
    found = predictor(image)
    if isinstance(found, Detections):
        found = found.above(score)
    return {'height': image.shape[0], 'width': image.shape[1], **as_json(found)}


async def uploaded(request: Request) -> bytes:
    """The file in a request."""
    if not request.headers.get('content-type', '').startswith('multipart/form-data'):
        return await request.body()
    async with request.form(max_files=1, max_fields=4) as form:
        file = form.get('file')
        if file is None or isinstance(file, str):
            raise HTTPException(422, 'The form has no file in the field "file".')
        return await file.read()


def create_app(predictor: Predictor, settings: Settings = Settings()) -> FastAPI:
    """The service for a loaded artefact."""
    app = FastAPI(title='mmtrtvit', summary='Objects or classes in an image')
    app.add_middleware(BodyLimit, max_bytes=settings.max_bytes)
    limiter = anyio.CapacityLimiter(settings.at_once)
    manifest = predictor.manifest

    @app.get('/health')
    async def health() -> dict[str, str]:
        return {'status': 'ok'}

    @app.get('/model')
    async def model() -> dict[str, Any]:
        return {key: manifest[key] for key in ('method', 'task', 'backend', 'precision', 'classes')}

    @app.post('/predict')
    async def predict(request: Request, score: float = Query(settings.score, ge=0, lt=1)) -> dict[str, Any]:
        content = await uploaded(request)
        if limiter.statistics().tasks_waiting >= settings.waiting:
            raise HTTPException(503, 'Too many requests are waiting.', headers={'Retry-After': '1'})
        work = functools.partial(answer_to, predictor, content, settings, score)
        try:
            return await anyio.to_thread.run_sync(work, limiter=limiter)
        except UserError as error:
            raise HTTPException(422, str(error)) from error

    return app


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        description='Answer requests with objects or classes in images.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('folder', help='folder of tools/deploy.py')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at')
    parser.add_argument('--port', type=int, default=8000, help='port to listen at')
    parser.add_argument('--device', help='device that the network runs on, such as cpu or cuda')
    parser.add_argument('--threads', type=int, help='CPU threads of the network')
    parser.add_argument('--score', type=float, default=defaults.score, help='objects with a higher score count')
    parser.add_argument('--at-once', type=int, default=defaults.at_once, help='images worked on at the same time')
    parser.add_argument('--waiting', type=int, default=defaults.waiting, help='requests that may wait')
    parser.add_argument('--max-bytes', type=int, default=defaults.max_bytes, help='largest upload')
    parser.add_argument('--max-pixels', type=int, default=defaults.max_pixels, help='largest image, height x width')
    return parser.parse_args()


@command_line
def main() -> None:
    """Load the artefact and serve it."""
    args = vars(parse_args())
    predictor = load(args.pop('folder'), device=args.pop('device'), threads=args.pop('threads'))
    host, port = args.pop('host'), args.pop('port')
    uvicorn.run(create_app(predictor, Settings(**args)), host=host, port=port, log_level='warning')


if __name__ == '__main__':
    sys.exit(main())
