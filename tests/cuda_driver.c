/* A CUDA driver without a GPU, for cuda-bindings to load in place of libcuda.so.1: device memory is
   that of the host, and what a launch does is up to the program that set `on_launch`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
       NOT_FOUND = 500 };
typedef unsigned long long pointer;

/* Set from outside. */
pointer (*on_alloc)(size_t);
void (*on_free)(pointer);
int (*on_launch)(const char *name, unsigned x, unsigned y, unsigned z, unsigned threads,
                 pointer stream, void **params);
int capturing;      /* allocations are then errors, as they are while a graph is recorded */
int compute_major = 9;

static int context, current;

static int cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
static int cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
static int cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
static int cuDeviceGet(int *device, int ordinal)
{
    *device = 0;
    return ordinal ? INVALID_VALUE : SUCCESS;
}
static int cuDeviceGetAttribute(int *value, int which, int device)
{
    (void)device;
    *value = which == 75 ? compute_major : 0; /* the major and (76) the minor compute capability */
    return SUCCESS;
}
static int cuDevicePrimaryCtxRetain(void **made, int device)
{
    (void)device;
    *made = &context;
    return SUCCESS;
}
static int cuCtxSetCurrent(void *which)
{
    current = which == &context;
    return current ? SUCCESS : INVALID_CONTEXT;
}
static int cuMemAlloc(pointer *address, size_t size)
{
    if (!current || capturing || !size) return current ? INVALID_VALUE : INVALID_CONTEXT;
    *address = on_alloc(size);
    return *address ? SUCCESS : OUT_OF_MEMORY;
}
static int cuMemFree(pointer address) { on_free(address); return SUCCESS; }
static int cuMemcpyHtoD(pointer to, const void *from, size_t size)
{
    if (capturing) return INVALID_VALUE;
    memcpy((void *)(uintptr_t)to, from, size);
    return SUCCESS;
}
static int cuMemcpyHtoDAsync(pointer to, const void *from, size_t size, void *stream)
{
    (void)stream;
    return cuMemcpyHtoD(to, from, size);
}
static int cuMemcpyDtoHAsync(void *to, pointer from, size_t size, void *stream)
{
    (void)stream;
    memcpy(to, (void *)(uintptr_t)from, size);
    return SUCCESS;
}
static int cuStreamSynchronize(void *stream) { (void)stream; return SUCCESS; }
static int cuEventCreate(void **event, unsigned flags)
{
    *event = malloc(1);
    return flags == 2 ? SUCCESS : INVALID_VALUE; /* without timing */
}
static int cuEventRecord(void *event, void *stream) { (void)event, (void)stream; return SUCCESS; }
static int cuStreamWaitEvent(void *stream, void *event, unsigned flags)
{
    (void)stream, (void)event;
    return flags;
}
static int cuEventDestroy(void *event) { free(event); return SUCCESS; }
static int cuModuleLoadData(void **module, const void *image)
{
    *module = (void *)(uintptr_t)image;
    return memcmp(image, "\177ELF", 4) ? INVALID_IMAGE : SUCCESS;
}
static int cuModuleGetFunction(void **function, void *module, const char *name)
{
    (void)module;
    *function = strdup(name);
    return SUCCESS;
}
static int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads,
                          unsigned threads_y, unsigned threads_z, unsigned shared, void *stream,
                          void **params, void **extra)
{
    if (!current) return INVALID_CONTEXT;
    if (!x || !y || !z || y > 65535 || z > 65535 || !threads || threads > 1024 || threads_y != 1
        || threads_z != 1 || shared || extra)
        return INVALID_VALUE;
    return on_launch ? on_launch(function, x, y, z, threads, (uintptr_t)stream, params) : SUCCESS;
}

int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, void *status)
{
    static const struct { const char *name; void *function; } all[] = {
#define ENTRY(function) {#function, (void *)function}
        ENTRY(cuInit), ENTRY(cuDriverGetVersion), ENTRY(cuDeviceGetCount), ENTRY(cuDeviceGet),
        ENTRY(cuDeviceGetAttribute), ENTRY(cuDevicePrimaryCtxRetain), ENTRY(cuCtxSetCurrent),
        ENTRY(cuMemAlloc), ENTRY(cuMemFree), ENTRY(cuMemcpyHtoD), ENTRY(cuMemcpyHtoDAsync),
        ENTRY(cuMemcpyDtoHAsync), ENTRY(cuStreamSynchronize), ENTRY(cuEventCreate),
        ENTRY(cuEventRecord), ENTRY(cuStreamWaitEvent), ENTRY(cuEventDestroy),
        ENTRY(cuModuleLoadData), ENTRY(cuModuleGetFunction), ENTRY(cuLaunchKernel),
    };
    (void)version, (void)flags, (void)status;
    *found = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name)) *found = all[i].function;
    return *found ? SUCCESS : NOT_FOUND;
}
