"""What the CUDA kernels are made of.

Kernels are plain Python functions over *intrinsics* (``intrinsics.py``).  Each intrinsic has two
meanings: on NumPy arrays with an element for every thread, which is how ``emulate.py`` runs a
kernel without a GPU; and as LLVM instructions, which is how ``toolchain/`` makes machine code of
the very same source.  Only that folder knows the compiler (numba-cuda) and the CUDA driver.

    kernels      direct.py, depthwise.py, gemm.py, gemm_weight.py, sums.py, pooling.py; all in
                 catalog.py
    host side    geometry.py (tables), launch.py (records and replays), arrays.py (CuPy, torch ...)
"""
