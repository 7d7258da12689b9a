"""Write the C source of engine._native from engine.h:  make_glue.py engine.h OUTPUT"""

import sys

from cffi import FFI

header, output = sys.argv[1:]
with open(header, encoding="utf-8") as file:
    declarations = "".join(line for line in file if not line.startswith("#"))
ffi = FFI()
ffi.cdef(declarations)
ffi.set_source("engine._native", '#include "engine.h"')
ffi.emit_c_code(output)
