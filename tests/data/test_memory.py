"""What a machine, a container or a job's limit leaves is found where Linux tells of it."""

import math
from pathlib import Path

import pytest

from glcm_mae.data.memory import memory_left

_MEMINFO = "MemTotal: 9000 kB\nMemAvailable:   4000 kB\nSwapTotal: 900 kB\nSwapFree:  96 kB\n"


def _system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_machine_tells(tmp_path: Path) -> None:
    assert memory_left(tmp_path) == math.inf
    assert memory_left(_system(tmp_path, {"proc/meminfo": _MEMINFO})) == 4096 * 1024


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "5000\n"},
        {
            "proc/self/cgroup": "0::/slurm/job_7/step_0\n",
            "sys/fs/cgroup/slurm/job_7/memory.max": "5000\n",
            "sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
        },
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/ab\n3:cpu,cpuacct:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
        },
    ],
)
def test_a_limit_counts(tmp_path: Path, files: dict[str, str]) -> None:
    assert memory_left(_system(tmp_path, {"proc/meminfo": _MEMINFO, **files})) == 5000
