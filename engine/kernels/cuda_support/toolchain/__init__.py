"""The layer between kernels and a GPU: the only code here that knows numba-cuda.

What comes in is a `Kernel` (../kernel.py): plain Python over the intrinsics of
``../intrinsics.py``, whose names and meanings belong to no compiler.  The rest of engine asks for

    compiler.compiled(kernel, target)     machine code, and what ptxas reports about it
    compiler.usage, .instructions         that report and that code, read
    cubins.binary(kernel, target)         the same, from disk once it has been made
    driver.missing()                      why there is no device, or None
    driver.device(ordinal)                a device: memory, streams, ``launch(kernel, grid, ...)``

and what it consists of:

    lowering*.py    for every intrinsic, the LLVM instructions or the PTX that stand for it
    compiler.py     intrinsics put in place of their names; numba-cuda, then ptxas
    cubins.py       the cache on disk
    driver.py       the CUDA driver through cuda-bindings

To replace numba-cuda, for one by its successor, edit ``lowering*.py`` and the two functions of
compiler.py that import it; no kernel changes.  A test holds this: nothing outside imports it.
"""
