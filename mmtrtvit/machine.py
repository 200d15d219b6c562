"""The machine that figures are measured on: its parts, and its load by other programs."""

import contextlib
import os
import platform
import time
from typing import Any

import torch

from .errors import ConfigError
from .processor import processor

BUSY_SHARE = 0.1
"""A machine is busy if other processes take more than this share of one core."""

UNSEEN = 'other processes were not looked at, as psutil is not installed'


def machine() -> dict:
    """The machine that the figures were measured on."""
    cpu = processor()
    return dict(
        processor=cpu['name'],
        features=cpu['features'],
        cores=os.cpu_count(),
        torch_threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=platform.platform(terse=True),
    )


def _relatives(psutil: Any) -> set[int]:
    """This process, its ancestors and its children: they are not others."""
    own = psutil.Process()
    return {own.pid, *(process.pid for process in (*own.parents(), *own.children(recursive=True)))}


def _seconds_of_others(psutil: Any) -> dict[tuple, tuple[str, float]]:
    """Every other process to its name and the CPU time it has used, that of its ended children included."""
    related, found = _relatives(psutil), {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in related:
                found[process.pid, process.create_time()] = process.name(), sum(process.cpu_times()[:4])
    return found


def _other_processes(psutil: Any, seconds: float) -> list[dict]:
    """Name and share of a core of each other process that took more than 2 % of one."""
    before, begun = _seconds_of_others(psutil), time.perf_counter()
    time.sleep(seconds)
    after, took = _seconds_of_others(psutil), time.perf_counter() - begun
    shares = [(name, (used - before.get(key, (name, 0.0))[1]) / took) for key, (name, used) in after.items()]
    found = [dict(name=name, share=round(share, 2)) for name, share in shares if share > 0.02]
    return sorted(found, key=lambda entry: -entry['share'])


def _gpu() -> dict | None:
    """Clocks, temperature and users of the current GPU, as NVML tells them; None without a GPU or ``pynvml``."""
    if not torch.cuda.is_available():
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        # by its UUID: CUDA_VISIBLE_DEVICES renumbers the devices for torch only
        uuid = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith('GPU-') else f'GPU-{uuid}')

        def ask(question: str, *details: Any) -> Any:
            try:
                return getattr(pynvml, question)(handle, *details)
            except (pynvml.NVMLError, AttributeError):  # not every device and driver answers every question
                return None

        processes = ask('nvmlDeviceGetComputeRunningProcesses')
        return dict(
            sm_mhz=ask('nvmlDeviceGetClockInfo', pynvml.NVML_CLOCK_SM),
            max_sm_mhz=ask('nvmlDeviceGetMaxClockInfo', pynvml.NVML_CLOCK_SM),
            memory_mhz=ask('nvmlDeviceGetClockInfo', pynvml.NVML_CLOCK_MEM),
            celsius=ask('nvmlDeviceGetTemperature', pynvml.NVML_TEMPERATURE_GPU),
            milliwatts=ask('nvmlDeviceGetPowerUsage'),
            throttle_reasons=ask('nvmlDeviceGetCurrentClocksThrottleReasons'),
            # in a container, process ids may be those of the host, so own ones cannot be told apart: they are counted
            processes=None if processes is None else len(processes),
        )
    except Exception:  # no pynvml, or a driver that NVML cannot talk to: the rest of the row is still worth having
        return None


def conditions(seconds: float = 1.0) -> dict:
    """Look at the machine for a moment.

    Args:
        seconds: Time to watch the other processes for.

    Returns:
        ``load_average`` of the last minute; ``others``, the processes that took more than 2 % of a core, by ``name``
        and ``share`` of a core; ``frequency_mhz`` of the CPU; ``gpu``, clocks and users of the GPU. An entry is None
        where it cannot be known: the processes and the frequency need ``psutil``, the GPU ``pynvml``.
    """
    found: dict[str, Any] = dict(
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,
        others=None,
        frequency_mhz=None,
        gpu=_gpu(),
    )
    try:
        import psutil
    except ImportError:
        return found
    found['others'] = _other_processes(psutil, seconds)
    try:
        frequency = psutil.cpu_freq()
    except OSError:  # virtual machines may hide it
        frequency = None
    found['frequency_mhz'] = round(frequency.current) if frequency else None
    return found


def busy(seen: dict) -> str:
    """Why figures measured now cannot be trusted, from :func:`conditions`; empty if nothing speaks against them."""
    reasons = []
    taken = sum(entry['share'] for entry in seen['others'] or ())
    if taken > BUSY_SHARE:
        names = ', '.join(f'{entry["name"]} {entry["share"]:.0%}' for entry in seen['others'][:5])
        reasons.append(f'other processes take {taken:.0%} of a core ({names})')
    if seen['gpu'] and (seen['gpu']['processes'] or 0) > 1:
        reasons.append(f'{seen["gpu"]["processes"]} processes use the GPU')
    return '; '.join(reasons)


def quiet_conditions(busy_ok: bool = False) -> dict:
    """The conditions of a machine that is quiet enough to measure on.

    Args:
        busy_ok: Accept a busy machine.

    Returns:
        :func:`conditions`, with ``busy``: the reason why the figures cannot be trusted, or an empty string. Without
        ``psutil`` nobody knows whether the machine is busy; it is accepted, and ``busy`` says so.

    Raises:
        ConfigError: If the machine is busy and ``busy_ok`` is not set.
    """
    seen = conditions()
    reason = busy(seen)
    if reason and not busy_ok:
        raise ConfigError(
            f'The machine is busy: {reason}.',
            expected=f'other processes at no more than {BUSY_SHARE:.0%} of a core, and a GPU of your own',
            fix='end them, or accept rows that say so with --busy-ok',
        )
    return dict(seen, busy=reason or ('' if seen['others'] is not None else UNSEEN))
