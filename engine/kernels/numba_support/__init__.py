"""What the Numba kernels stand on.

``vectors``  SIMD vectors, pointers and the operations on them, generic in dtype and width
``tile``     the register tile every convolution is made of
``jit``      compiling and caching kernels
``threads``  sharing tasks among threads, scratch memory per thread
"""
