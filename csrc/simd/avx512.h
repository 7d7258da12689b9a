/* AVX-512: 32 registers of 64 bytes; 28 or fewer in use, or compilers begin to spill. */
#define VEC_BYTES 64
#define TILE_ROWS_1 14
#define TILE_ROWS_2 12
#define TILE_ROWS_3 8
#define TILE_ROWS_4 6
#define TILE_VECS 4
#define VEC_REGISTERS 29 /* of which at most so many are used */
