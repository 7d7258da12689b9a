"""What the Numba kernels stand on.

``machine``     how wide vectors are, and how many registers there are
``llvm``        the vector type, and the LLVM code that intrinsics are put together from
``pointers``    ``loads``, ``splats``, ``arithmetic``, ``choosing``: the operations of kernels on
                numbers in memory and vectors of them, generic in dtype and width
``tile``        the register tile every convolution is made of
``tiles_bf16``  the same on the tiles of AMX, where there are any
``jit``         compiling and caching kernels
``threads``     sharing tasks among threads, scratch memory per thread
"""
