/* The floating-point mode of a thread, and the one that takes subnormal numbers for zero.

   A product with a subnormal operand or result costs some 150 cycles on x86: 150 times a product. */
#ifndef ENGINE_SUBNORMAL_H
#define ENGINE_SUBNORMAL_H

#include <stdint.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>

enum { SUBNORMALS_ARE_ZERO = 1 << 15 | 1 << 6 }; /* results (FTZ), operands (DAZ) */

static inline uint64_t floating_mode(void) { return _mm_getcsr(); }
static inline void set_floating_mode(uint64_t mode) { _mm_setcsr((uint32_t)mode); }

#elif defined(__aarch64__) && defined(__GNUC__)

enum { SUBNORMALS_ARE_ZERO = 1 << 24 }; /* FPCR.FZ: both */

static inline uint64_t floating_mode(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void set_floating_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }

#else

enum { SUBNORMALS_ARE_ZERO = 0 };

static inline uint64_t floating_mode(void) { return 0; }
static inline void set_floating_mode(uint64_t mode) { (void)mode; }

#endif

/* From here on subnormals are zero; returns the mode to go back to. */
static inline uint64_t subnormals_to_zero(void) {
    uint64_t before = floating_mode();
    set_floating_mode(before | SUBNORMALS_ARE_ZERO);
    return before;
}

#endif
