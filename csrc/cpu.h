/* Which levels of isa.def exist here: at compile time by architecture, at run time by the processor's own word. */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

#include <stdint.h>

#define ISA_ON_x86_64(...)
#define ISA_ON_aarch64(...)
#define ISA_ON_other(...)
#if defined(__x86_64__) || defined(_M_X64)
#undef ISA_ON_x86_64
#define ISA_ON_x86_64(...) __VA_ARGS__
#elif defined(__aarch64__)
#undef ISA_ON_aarch64
#define ISA_ON_aarch64(...) __VA_ARGS__
#else
#undef ISA_ON_other
#define ISA_ON_other(...) __VA_ARGS__
#endif

int cpu_has_avx2(void);
int cpu_has_avx512(void);
int cpu_has_amx(void); /* and the system lets this process use its tiles, for which this asks */

/* of the largest cache; a guess where the system does not say */
int64_t cpu_cache_bytes(void);

#endif
