/* AVX-512 with the tile registers of AMX, which multiply bfloat16 (amx_tile.h); everything else as in avx512.h. */
#include "avx512.h"
