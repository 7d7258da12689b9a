"""What the CUDA kernels are made of.

Kernels are plain Python functions over *intrinsics* (``intrinsics.py``).  Each intrinsic has two
meanings: on NumPy arrays with an element for every thread, which is how ``emulate.py`` runs a
kernel without a GPU; and as LLVM instructions (``lowering.py``), which is how ``compiler.py`` makes
machine code of the very same source.  Only ``compiler.py`` and the ``lowering`` files know the
compiler (numba-cuda), only ``driver.py`` knows the CUDA driver.

    kernels      direct.py, gemm.py, gemm_weight.py, sums.py, pooling.py; all in catalog.py
    host side    geometry.py (tables), launch.py (records and replays), arrays.py (CuPy, torch ...)
"""
