"""How much memory a device has free, and what running out of it looks like.

On a CPU this is what the kernel calls available, and no more than the control group of the process (a container) still allows; on
CUDA, what the driver has free plus what torch holds without using it. A CPU that runs out kills the process instead of
raising an error, so whoever is about to load weights asks first. Cost: reading a few small files.
It does not know what else is about to ask for the same memory.

Also how a process keeps its memory between two batches. The GNU C library gives large blocks back when they are freed; the
next batch asks for them anew, and the kernel fills every page with zeros again: measured on two cores, 60,000 page faults a
second and a tenth of the time of scoring. Kept, they raise the peak of scoring by a tenth at most, that of an atlas by a quarter.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_MALLOPT = {
    -3: 32 << 20,  # M_MMAP_THRESHOLD: smaller blocks are kept; no release takes a higher one
    -1: 256 << 20,  # M_TRIM_THRESHOLD: so much of the main heap is kept
    -2: 64 << 20,  # M_TOP_PAD: and so much, a whole heap, of each thread's; address space until it is used
}
_TUNED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
_FULL = ("out of memory", "can't allocate memory", "not enough memory")


def free_memory(device: torch.device) -> int | None:
    """Free bytes of a device, None where the system does not say."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        free, _ = torch.cuda.mem_get_info(index)
        return free + torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    if device.type != "cpu":
        return None
    bounds = [bytes_free for bytes_free in (_available(_MEMINFO), _group_free(_GROUP)) if bytes_free is not None]
    return min(bounds, default=None)


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for what comes next; blocks over 32 MiB still go back at once.

    Returns whether it does: not on other systems or C libraries, nor where the environment already tunes this library.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _TUNED):
        return False
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    return tune is not None and all(tune(name, value) for name, value in _MALLOPT.items())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device is full; torch has a class for that on CUDA and only words on a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _FULL)


def _available(meminfo: Path) -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _group_free(group: Path) -> int | None:
    """The control group's limit less what it uses; file cache counts as used there and is given back when needed."""
    try:
        limit, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0, limit - used + int(statistics["inactive_file"]))
    except (OSError, KeyError, ValueError):  # no such files, or a limit of "max"
        return None
