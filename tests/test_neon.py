"""The C kernels on AArch64, under qemu's user-mode emulator, if a cross compiler is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64", "cmake")
absent = [tool for tool in TOOLS if shutil.which(tool) is None]


def output_of(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")
def test_kernels_under_emulation(tmp_path):
    output_of("cmake", "-S", str(ROOT), "-B", str(tmp_path), "-DENGINE_CHECK=ON",
              "-DENGINE_WERROR=ON", "-DCMAKE_SYSTEM_NAME=Linux",
              "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_C_COMPILER={TOOLS[0]}",
              "-DCMAKE_EXE_LINKER_FLAGS=-static")
    output_of("cmake", "--build", str(tmp_path), "--parallel", "2")
    said = output_of("qemu-aarch64", str(tmp_path / "check_kernels"))
    print(said)
    level, count = said.split("\n")[0].split(": ")
    assert level == "neon" and int(count.split()[0]) > 400
    assert "\n0 mismatches" in said
