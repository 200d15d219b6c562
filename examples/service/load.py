"""Ask the web service from many clients at once, and compare every answer: python examples/service/load.py DIR IMAGES.

The service is started for an artefact, and stopped in the end. Each answer is compared with that of the runtime in this
process. Exit status 1 if any differs.
"""

import argparse
import concurrent.futures
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

APP = Path(__file__).resolve().with_name('app.py')

Upload = tuple[bytes, Any]
"""The content of a file, and the expected answer: a JSON value, or None if it has to be refused with status 422."""


class Service:
    """The service in a process of its own.

    Args:
        folder: The artefact's folder.
        options: Further options of ``app.py``.
    """

    def __init__(self, folder: str | os.PathLike, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        self.folder, self.url = folder, f'http://127.0.0.1:{port}'
        self.process = subprocess.Popen([sys.executable, str(APP), str(folder), '--port', str(port), *options])

    def __enter__(self) -> 'Service':
        for _ in range(600):
            try:
                if httpx.get(f'{self.url}/health').is_success:
                    return self
            except httpx.TransportError:
                time.sleep(0.1)
            if self.process.poll() is not None:
                break
        self.__exit__()
        sys.exit('The service does not start.')

    def __exit__(self, *_: Any) -> None:
        self.process.terminate()
        self.process.wait(30)

    def memory(self) -> int:
        """Resident memory, bytes (Linux only)."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith('VmRSS'))


def ask(url: str, uploads: Sequence[Upload], clients: int, requests: int) -> tuple[list[float], list[str]]:
    """Send uploads in turn from several clients, as bodies and as forms.

    Returns:
        Seconds of each request, and a text for each wrong answer.
    """

    def client(number: int) -> tuple[list[float], list[str]]:
        seconds, wrong = [], []
        with httpx.Client(base_url=url, timeout=120) as connection:
            for turn in range(number, requests, clients):
                content, expected = uploads[turn % len(uploads)]
                body = dict(content=content) if turn % 3 else dict(files={'file': content})
                start = time.perf_counter()
                answer = connection.post('/predict', **body)
                seconds.append(time.perf_counter() - start)
                given = None if answer.status_code == 422 else answer.json()
                if given != expected:
                    wrong.append(f'upload {turn % len(uploads)}: status {answer.status_code}, {answer.text[:200]}')
        return seconds, wrong

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(client, range(clients)))
    return [entry for part, _ in found for entry in part], [entry for _, part in found for entry in part]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Ask the web service from many clients, and compare every answer.')
    parser.add_argument('folder', help='folder of tools/deploy.py')
    parser.add_argument('images', help='images, as tools/predict.py takes them; the first 20 are sent')
    parser.add_argument('--clients', type=int, default=16, help='clients that ask at the same time (16)')
    parser.add_argument('--requests', type=int, default=2000, help='requests of all clients together (2000)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the network (1)')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures as well')
    return parser.parse_args()


def main() -> int:
    """Start the service, ask it, and print figures."""
    from app import Settings, answer_to

    from mmtrtvit.machine import machine
    from mmtrtvit.prediction import find_items
    from mmtrtvit.runtime import load

    args = parse_args()
    predictor = load(args.folder, threads=args.threads)
    contents = [Path(item.path).read_bytes() for item in find_items(args.images)[:20] if not item.is_video]
    settings = Settings()
    uploads: list[Upload] = [(content, answer_to(predictor, content, settings, settings.score)) for content in contents]
    uploads.append((contents[0][: len(contents[0]) // 2], None))
    with Service(args.folder, '--threads', str(args.threads)) as service:
        ask(service.url, uploads, args.clients, max(args.requests // 4, 1))
        before, start = service.memory(), time.perf_counter()
        seconds, wrong = ask(service.url, uploads, args.clients, args.requests)
        took, after = time.perf_counter() - start, service.memory()
    manifest = predictor.manifest
    row = dict(
        network=Path(manifest.get('source', {}).get('model_config') or manifest['method']).stem,
        backend=manifest['backend'],
        precision=manifest['precision'],
        clients=args.clients,
        requests=len(seconds),
        threads=args.threads,
        wrong=len(wrong),
        a_second=len(seconds) / took,
        p50_ms=1e3 * statistics.median(seconds),
        p99_ms=1e3 * sorted(seconds)[int(0.99 * len(seconds))],
        memory_before=before,
        memory_after=after,
        machine=machine(),
    )
    text = json.dumps({'rows': [row]}, indent=1)
    print(text, *wrong[:5], sep='\n')
    if args.out:
        Path(args.out).write_text(text + '\n')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
