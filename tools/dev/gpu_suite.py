#!/usr/bin/env python
"""The GPU suite on a machine that has a GPU and PyTorch, perhaps without a network: tests, then latency.

    python tools/dev/gpu_suite.py gather                   # on any machine: wheels of pure Python into .gpu/
    python tools/dev/gpu_suite.py run --out work_dirs/gpu  # on that machine, with .gpu/ beside the checkout's files

Packages of .gpu/ that are not installed there are unpacked into a temporary folder. Nothing is installed. The run
leaves logs, ``tests.xml`` and ``gpu.jsonl``, rows of latency. Copied to docs/results/, these make the table of
docs/tensorrt.md: python tools/dev/update_pages.py.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / '.gpu'

PEERS = (
    *('resnet50', 'resnet101', 'nextvit_small', 'nextvit_base', 'efficientformer_l1', 'efficientformer_l3'),
    'swin_tiny_patch4_window7_224',
)
"""Models of timm that are timed beside the backbones, where timm is installed."""


def gather() -> None:
    """Download the wheels for Python 3.12; they hold no compiled code, so they serve the others as well."""
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


def unpack(wheels: Path, folder: Path) -> list[str]:
    """Unpack the wheels of which no package is installed into a folder; their names."""
    unpacked = []
    for path in sorted(wheels.glob('*.whl')):
        with zipfile.ZipFile(path) as wheel:
            packages = {name.partition('/')[0].removesuffix('.py') for name in wheel.namelist() if name.endswith('.py')}
            if not any(importlib.util.find_spec(package) for package in packages):
                wheel.extractall(folder)
                unpacked.append(path.name)
    return unpacked


def test_command(out: Path, device: str) -> list[str]:
    """The command of the tests."""
    processes = ['-n', '4'] if importlib.util.find_spec('xdist') else []
    chosen = ['-m', 'gpu'] if device == 'cuda' else ['-m', 'not gpu']
    report = ['-p', 'no:cacheprovider', '-q', '-rP', f'--junitxml={out / "tests.xml"}']
    return [sys.executable, '-m', 'pytest', *report, *processes, *chosen, 'tests/test_gpu']


def latency_command(out: Path, device: str, modes: list[str], precisions: list[str]) -> list[str]:
    """The command that times all backbones, timm's beside them, in turn."""
    command = [sys.executable, 'tools/benchmark.py', 'backbone', f'--out={out}', f'--device={device}', '--busy-ok']
    if device == 'cpu':
        small = ('--families', 'turbovit', '--shapes', '64', '--modes', 'eager', '--precisions', 'fp32')
        return [*command, '--backends', 'pytorch', *small, '--min-runs=3', '--min-seconds=0.1', '--warmup-seconds=0.1']
    engines = [name.replace('_', '-') for name in ('tensorrt', 'tensorrt_rtx') if importlib.util.find_spec(name)]
    peers = ['--timm', *PEERS] if importlib.util.find_spec('timm') else []
    return [
        *command,
        *('--families', 'trtvit', 'nextvit', 'efficientformer', 'turbovit', *peers),
        *('--batches', '1', '8', '32', '--backends', 'pytorch', *engines),
        *('--modes', *modes, '--precisions', *precisions),
        *('--min-seconds=0.3', '--warmup-seconds=0.2'),
    ]


LATENCY = {'fp16': (['eager', 'channels_last', 'graph'], ['fp16']), 'fp32': (['eager'], ['fp32', 'tf32'])}
"""Modes of PyTorch and precisions of each step that measures; the first matters most."""


def step(name: str, command: list[str], out: Path, environment: dict[str, str], seconds: float) -> bool:
    """Run a command with a limit of time, with its output in a file, and show the end of it.

    Returns:
        Whether it ended with status 0.
    """
    log = out / f'{name}.log'
    with open(log, 'w', encoding='utf-8') as file:
        try:
            status = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=seconds
            ).returncode
            said = 'passed' if status == 0 else f'FAILED with status {status}'
        except subprocess.TimeoutExpired:
            status, said = 1, f'FAILED: not finished after {seconds:.0f} s'
    print(*log.read_text(encoding='utf-8', errors='replace').splitlines()[-15:], f'{name}: {said} ({log})', sep='\n')
    return status == 0


def run(out: Path, device: str, minutes: float) -> int:
    """Run the steps within a limit of time.

    Returns:
        The exit status: 0 if all passed.
    """
    end = time.monotonic() + minutes * 60
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        print('Unpacked:', ' '.join(unpack(WHEELS, Path(scratch))) or 'nothing, everything is installed')
        paths = [str(ROOT), scratch, *filter(None, [os.environ.get('PYTHONPATH')])]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'PYTHONUNBUFFERED': '1'}
        passed = [step('tests', test_command(out, device), out, environment, 0.4 * (end - time.monotonic()))]
        for share, (name, settings) in zip((0.6, 1.0), LATENCY.items(), strict=True):
            seconds = share * (end - time.monotonic())
            # of the time of a step, some is for loading networks
            command = [*latency_command(out, device, *settings), f'--max-seconds={0.7 * seconds:.0f}']
            passed.append(step(f'latency_{name}', command, out, environment, seconds))
    if (out / 'rows.jsonl').is_file():
        shutil.copyfile(out / 'rows.jsonl', out / 'gpu.jsonl')
        print(f'Rows: {out / "gpu.jsonl"}')
    return 0 if all(passed) else 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('gather', help='download the wheels that a bare machine lacks')
    there = commands.add_parser('run', help='run the suite')
    there.add_argument('--out', type=Path, default=Path('work_dirs/gpu'), help='folder for rows and logs')
    there.add_argument(
        '--device', choices=['cuda', 'cpu'], default='cuda', help='cpu: try the suite, on small networks'
    )
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
