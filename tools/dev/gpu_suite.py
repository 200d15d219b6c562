#!/usr/bin/env python
"""The GPU suite for a machine that has PyTorch and no network: gather what it lacks here, run the suite there.

    python tools/dev/gpu_suite.py gather              # wheels of pure Python into .gpu/
    python tools/dev/gpu_suite.py run --out work_dirs/gpu

The run leaves ``gpu.jsonl``, rows of latency (mmtrtvit/measurement.schema.json), and ``tests.xml`` and ``tests.log``.
Copied to docs/results/, the rows make the table of docs/tensorrt.md: python tools/dev/update_pages.py.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / '.gpu'

PEERS = (
    *('resnet50', 'resnet101', 'nextvit_small', 'nextvit_base', 'nextvit_large'),
    *('efficientformer_l1', 'efficientformer_l3', 'efficientformer_l7', 'swin_tiny_patch4_window7_224'),
)
"""Models of timm that are timed beside the backbones."""


def gather() -> None:
    """Download the wheels for any Python 3.10 or later on Linux; they hold no compiled code."""
    sys.path.insert(0, str(ROOT))
    from mmtrtvit.environment import pins

    WHEELS.mkdir(exist_ok=True)
    for wheel in WHEELS.glob('*.whl'):
        wheel.unlink()
    wanted = [pins()['onedl-mmengine'], '-r', str(ROOT / 'requirements' / 'gpu.txt')]
    options = ('--no-deps', '--only-binary=:all:', '--platform=any', '--python-version=3.12', f'--dest={WHEELS}')
    subprocess.run([sys.executable, '-m', 'pip', 'download', '--quiet', *options, *wanted], check=True)
    wheels = sorted(WHEELS.glob('*.whl'))
    print(f'{len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e6:.1f} MB: {WHEELS}')


def unpack(folder: Path) -> list[str]:
    """Unpack the wheels of which no package is installed into a folder; their names."""
    unpacked = []
    for path in sorted(WHEELS.glob('*.whl')):
        with zipfile.ZipFile(path) as wheel:
            packages = {name.partition('/')[0].removesuffix('.py') for name in wheel.namelist() if name.endswith('.py')}
            if not any(importlib.util.find_spec(package) for package in packages if '.' not in package):
                wheel.extractall(folder)
                unpacked.append(path.name)
    return unpacked


def run(out: Path, device: str, minutes: float) -> int:
    """Run the tests, then the measurements in the time that is left.

    Returns:
        The number of the two that failed.
    """
    end = time.monotonic() + minutes * 60
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        print('unpacked:', *(unpack(Path(scratch)) or ['nothing; everything is installed']))
        paths = [str(ROOT), scratch, *filter(None, [os.environ.get('PYTHONPATH')])]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'PYTHONUNBUFFERED': '1'}
        failed = 0
        for name, command, share in (('tests', tests(out, device), 0.45), ('latency', latency(out, device), 1.0)):
            seconds = (end - time.monotonic()) * share
            if name == 'latency':
                command = [*command, '--max-seconds', f'{seconds - 30:.0f}']  # loading what comes last takes time too
            with open(out / f'{name}.log', 'w') as log:
                process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
                try:
                    status = process.wait(timeout=seconds)
                except subprocess.TimeoutExpired:
                    process.terminate()
                    process.wait()
                    status = f'not finished after {seconds:.0f} s'
            failed += status != 0
            print(f'{name}: {status or "passed"}\n' + '\n'.join((out / f'{name}.log').read_text().splitlines()[-15:]))
    return failed


def tests(out: Path, device: str) -> list[str]:
    """The command of the tests."""
    processes = ['-n', '4'] if importlib.util.find_spec('xdist') else []
    chosen = ['-m', 'gpu'] if device == 'cuda' else ['-k', 'cpu']
    report = ['-p', 'no:cacheprovider', '-q', '-rP', f'--junitxml={out / "tests.xml"}']
    return [sys.executable, '-m', 'pytest', *report, *processes, *chosen, 'tests/test_gpu']


def latency(out: Path, device: str) -> list[str]:
    """The command of the measurements."""
    return [sys.executable, '-c', 'print("TODO")']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('gather', help='download the wheels that a bare machine lacks')
    there = commands.add_parser('run', help='run the tests and the measurements')
    there.add_argument('--out', type=Path, default=Path('work_dirs/gpu'), help='folder for rows and logs')
    there.add_argument('--device', choices=['cuda', 'cpu'], default='cuda', help='cpu: try the suite on small networks')
    there.add_argument('--minutes', type=float, default=9, help='time limit of all')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.command == 'gather':
        gather()
        return 0
    return run(args.out.resolve(), args.device, args.minutes)


if __name__ == '__main__':
    sys.exit(main())
