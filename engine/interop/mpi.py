"""MPI: the ranks that ``mpiexec`` starts train one model together.

``mpiexec -n 4 engine train lenet5`` needs no more than that.  In a script of your own::

    from engine.interop.mpi import ProcessGroup

    group = ProcessGroup()
    model.fit(x, y, batch_size=64, parallel=group)

`engine.nn.parallel` says what the ranks share; here is how it gets from one to another.
"""

from __future__ import annotations

import os
import sys
import time

from engine.nn import parallel
from engine.nn._extras import need

MPI = need("mpi4py.MPI", "engine.interop.mpi", "mpi")

_yield = getattr(os, "sched_yield", lambda: time.sleep(0))


class ProcessGroup(parallel.Group):
    """The ranks of an MPI communicator, for the argument `parallel` of `Model.fit`.

    An exception that nothing catches ends all ranks, which else would wait for this one for ever.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        Default: MPI.COMM_WORLD, all ranks there are.

    Raises
    ------
    ValueError
        If the launcher has started several processes that MPI does not know of.
    """

    def __init__(self, comm=None):
        launched = max(int(os.environ.get(name, 1)) for name in parallel.LAUNCHED)
        if launched > 1 and MPI.COMM_WORLD.size == 1:
            library = MPI.Get_library_version().splitlines()[0].strip("\0 ")
            raise ValueError(f"ProcessGroup: MPI sees 1 process, expected {launched} as launched "
                             f"(mpiexec is not the one of mpi4py's library, {library})")
        self.comm = (comm or MPI.COMM_WORLD).Dup()  # no message of others comes between
        super().__init__(self.comm.rank, self.comm.size)
        self.requests: list = []
        if self.size > 1:
            _abort_on_exceptions(self.comm)

    def broadcast(self, value):
        return self.comm.bcast(value)

    def sum(self, array):
        total = array.copy()
        self._check(total)
        self.comm.Allreduce(MPI.IN_PLACE, total)
        return total

    def start(self, array):
        self._check(array)
        self.requests.append(self.comm.Iallreduce(MPI.IN_PLACE, array))

    def poll(self):
        MPI.Request.Testall(self.requests)

    def wait(self):
        while not MPI.Request.Testall(self.requests):
            _yield()  # the rank that is waited for may need this very core
        self.requests.clear()

    def _check(self, array) -> None:
        """CUDA arrays go to MPI as they are, which would crash where it cannot read them."""
        if hasattr(array, "__cuda_array_interface__"):
            kinds = self.comm.Get_info().get("mpi_memory_alloc_kinds", "") or "unknown"
            if "cuda" not in kinds:
                raise ValueError("ProcessGroup: `array` is in CUDA memory, expected host memory "
                                 f"(the kinds of memory of this MPI are {kinds})")

    def abort(self, message: str) -> None:
        """End all ranks, with a message."""
        print(f"{message} (rank {self.rank} of {self.size})", file=sys.stderr, flush=True)
        self.comm.Abort(1)

    def cpus(self) -> int:
        """How many processors each rank has to itself, where all on its machine share them."""
        machine = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        if hasattr(os, "sched_getaffinity"):
            usable = set().union(*machine.allgather(os.sched_getaffinity(0)))
        else:
            usable = range(os.cpu_count() or 1)
        return max(1, len(usable) // machine.size)


def _abort_on_exceptions(comm) -> None:
    previous = sys.excepthook

    def hook(kind, error, trace):
        previous(kind, error, trace)
        sys.stderr.flush()
        comm.Abort(1)

    sys.excepthook = hook
