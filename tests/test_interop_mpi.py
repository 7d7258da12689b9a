"""Training on ranks that mpiexec starts; `test_nn_parallel` has what does not depend on MPI."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine import nn

pytest.importorskip("mpi4py")
pytest.importorskip("safetensors.numpy")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
if MPIEXEC is None:
    pytest.skip("there is no mpiexec: pip install mpich", allow_module_level=True)


def start(size, *args):
    """Python on so many ranks, each with one thread."""
    return subprocess.Popen(
        [MPIEXEC, "-n", str(size), sys.executable, *map(str, args)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"ENGINE_NUM_THREADS": "1", "COLUMNS": "200"})


def ranks(size, *args):
    """The exit code and the output of that."""
    process = start(size, *args)
    try:
        text, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, text


# What runs on the ranks: each saves what it ends with.
TRAIN = """
import sys
import numpy as np
from test_nn_parallel import train
from engine.nn import parallel
group = parallel.world()
model, history = train(group)
np.savez(f"{sys.argv[1]}/{group.rank}", weights=model.weights, **history)
assert group.any(group.rank == 1) and not group.any(False) and group.cpus() >= 1
"""


def test_two_ranks_train_as_one_process_does(tmp_path):
    from test_nn_parallel import train

    model, history = train()
    assert ranks(2, "-c", TRAIN, tmp_path) == (0, "")
    results = [np.load(tmp_path / f"{rank}.npz") for rank in range(2)]
    assert results[0]["weights"].tobytes() == results[1]["weights"].tobytes()
    for result in results:
        np.testing.assert_allclose(result["weights"], model.weights, rtol=1e-9, atol=1e-9)
        for name, values in history.items():
            np.testing.assert_allclose(result[name], values, rtol=1e-9)


def test_an_exception_on_one_rank_ends_all(tmp_path):
    code, text = ranks(2, "-c", "from test_nn_parallel import train\n"
                                "from engine.interop.mpi import ProcessGroup\n"
                                "group = ProcessGroup()\n"
                                "assert group.rank == 0, 'something is wrong here'\n"
                                "train(group)")
    assert code != 0 and text.count("AssertionError: something is wrong here") == 1


def test_a_message_of_the_command_ends_all(tmp_path):
    (tmp_path / "model.safetensors").write_text("something else")
    code, text = ranks(2, "-m", "engine.cli", "train", "lenet5", "--epochs", 1, "--resume",
                       "--out", tmp_path)
    assert code != 0 and "Traceback" not in text
    assert "is not a whole safetensors file" in text and "(rank 0 of 2)" in text


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL to send")
def test_a_lost_rank_ends_the_command_and_another_number_goes_on(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("rich")
    command = ("-u", "-m", "engine.cli", "train", "lenet5", "--dtype", "float64", "--batch-size",
               128, "--epochs", 2, "--save-every", 2)
    code, whole = ranks(1, *command, "--out", tmp_path / "whole")
    assert code == 0, whole

    path = tmp_path / "killed" / "model.safetensors"
    process = start(2, *command, "--out", path.parent)
    try:
        while not path.exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.01)
        os.kill(second_rank_of(process.pid), signal.SIGKILL)
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and "test accuracy" not in text
    assert "2 ranks share each batch" in text and "start again with --resume" in text
    assert re.search(r"KILLED BY SIGNAL: 9|signal 9", text)  # as MPICH and as Open MPI say it
    assert nn.load(path).epochs_done < 2  # a whole file

    code, text = ranks(2, *command, "--resume", "--out", path.parent)
    assert code == 0, text
    assert text.count("test accuracy") == text.count("epoch 2/2") == 1  # rank 0 alone says it
    assert sorted(os.listdir(path.parent)) == ["curves.png", "model.safetensors"]
    ends = [nn.load(each).weights for each in (path, tmp_path / "whole" / "model.safetensors")]
    np.testing.assert_allclose(*ends, rtol=1e-6, atol=1e-8)
    accuracies = [re.search(r"test accuracy .*?\)", each).group() for each in (text, whole)]
    assert accuracies[0] == accuracies[1]


def second_rank_of(launcher: int) -> int:
    """The process of rank 1 below that process, as its environment says."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            parents = ancestors(int(folder.name))
        except (OSError, ValueError):  # it has ended
            continue
        if launcher in parents and {b"PMI_RANK=1", b"OMPI_COMM_WORLD_RANK=1"} & set(variables):
            return int(folder.name)
    raise AssertionError("there is no rank 1")


def ancestors(process: int):
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found
