"""A process of its own for what runs on the GPU; what it finds comes back line by line."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-m", "bench.gpu_panel"]
SILENCE = 120  # seconds without a word after which it hangs


def tell(found) -> None:
    """Say it to the process that waits in `said`."""
    print(f"@{json.dumps(found)}", flush=True)


def said(args: list[str], seconds: float) -> Iterator:
    """What the program tells one after the other.

    Raises
    ------
    RuntimeError
        If it ends in an error.
    TimeoutError
        If it has not ended after so many seconds, or has been silent for long; it is killed.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen([*PROGRAM, *args], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace",
                               env={**os.environ, "PYTHONPATH": path})
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    end, line, last = time.monotonic() + seconds, "", ""
    try:
        while True:
            try:
                line = lines.get(timeout=max(min(SILENCE, end - time.monotonic()), 0))
            except queue.Empty:
                raise TimeoutError(f"no end or no word for too long; its last: {last}") from None
            if line is None:
                break
            if line.startswith("@"):
                yield json.loads(line[1:])
            else:
                print(line, end="", file=sys.stderr)
                last = line.strip() or last
    finally:
        if process.poll() is None and line is not None:
            process.kill()
        status = process.wait()
    if status:
        raise RuntimeError(f"its process ended with status {status}: {last}")


def _read(stream, lines: queue.Queue) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
