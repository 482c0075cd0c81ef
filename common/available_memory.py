"""How much more memory this process may take: what the machine, a container or a batch system leaves it."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

CGROUPS = Path("/sys/fs/cgroup")
FILES = {"memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"), "": ("memory.max", "memory.current")}
"""Limit and usage, in a control group of version 1 (one hierarchy for memory) and of version 2 (one for everything)."""


def available_memory(device: torch.device) -> int:
    """Bytes that are free on ``device``; on a CPU also bounded by the control groups that this process is in."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_left_in_groups(Path("/proc/self/cgroup"), CGROUPS)])


def _left_in_groups(membership: Path, root: Path) -> Iterator[int]:
    """Bytes left in each group that ``membership`` names and in those around it; nothing where there is no limit."""
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in FILES:
            continue
        top = root / controllers
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            limit, usage = (folder / name for name in FILES[controllers])
            if limit.exists() and limit.read_text().strip() != "max":
                yield int(limit.read_text()) - int(usage.read_text()) + _reclaimable(folder)
            if folder == top:
                break


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files in a group's usage, which make room when they must."""
    stat = folder / "memory.stat"
    counts = dict(line.split() for line in stat.read_text().splitlines()) if stat.exists() else {}
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
