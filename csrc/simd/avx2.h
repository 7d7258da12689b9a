/* AVX2 and FMA: 16 registers of 32 bytes. */
#define VEC_BYTES 32
#define TILE_ROWS_1 10
#define TILE_ROWS_2 6
#define TILE_ROWS_3 4
#define TILE_ROWS_4 3
#define TILE_VECS 2
#define VEC_REGISTERS 15 /* of which at most so many are used */
