/* Processor detection.  The compiler's builtins also ask the operating system whether it saves the wide registers. */
#include "cpu.h"

#if defined(__x86_64__) || defined(_M_X64)

int cpu_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

int cpu_has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

#else

int cpu_has_avx2(void) { return 0; }
int cpu_has_avx512(void) { return 0; }

#endif
