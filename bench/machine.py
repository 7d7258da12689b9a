"""Where and with what a figure was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

ISA_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "asimd", "sve")


def describe() -> dict[str, object]:
    """CPU, caches, system, commit and date; versions of the peers come from their workers."""
    cpu = _cpuinfo()
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cpu_family_model": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "cpus_usable": usable_cpus(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "caches": _caches(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo, where there is one."""
    path = Path("/proc/cpuinfo")
    text = path.read_text().split("\n\n")[0] if path.exists() else ""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _caches() -> dict[str, str]:
    """Size of each cache as the first CPU sees it, e.g. {"L1d": "32K", "L2": "1024K"}."""
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (index / "type").read_text().strip()
        if kind != "Instruction":
            level = (index / "level").read_text().strip()
            sizes[f"L{level}" + ("d" if kind == "Data" else "")] = (
                index / "size").read_text().strip()
    return sizes


def _commit() -> str:
    """The commit of the measured sources, with + if the work tree differs from it."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True,
                              check=True).stdout.strip()
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "engine", "csrc")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def headline() -> str:
    """Two lines for the top of a printed report."""
    m = describe()
    caches = " ".join(f"{name} {size}" for name, size in m["caches"].items())
    return (f"{m['cpu']} (family/model {m['cpu_family_model']}; {' '.join(m['isa'])}; {caches})\n"
            f"{m['cpus_usable']} CPUs, load {m['load']} before the run, "
            f"commit {m['commit']}, {m['date']}")
