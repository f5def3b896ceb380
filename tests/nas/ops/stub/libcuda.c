// A CUDA driver without a GPU, for Triton's own launcher: it loads nothing, runs nothing, and logs every launch.
#include <cuda.h>
#include <stdint.h>
#include <string.h>

enum { LAUNCHES = 4096, PARAMETERS = 24 };

typedef struct {
    uint64_t grid[3], threads, shared_bytes, attributes, function, parameters[PARAMETERS];
} Launch;

static Launch log_[LAUNCHES];
static long count;
static int num_parameters, sizes[PARAMETERS];  // of the next launches, in bytes; 0: not logged

long stub_count(void) { return count; }

void stub_expect(int n, const int *bytes) {
    num_parameters = n;
    memcpy(sizes, bytes, n * sizeof *bytes);
}

void stub_launch(long index, uint64_t *words) { memcpy(words, &log_[index % LAUNCHES], sizeof(Launch)); }

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **given, void **extra) {
    Launch *launch = &log_[count++ % LAUNCHES];
    *launch = (Launch){.grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
                       .threads = config->blockDimX,
                       .shared_bytes = config->sharedMemBytes,
                       .attributes = config->numAttrs,
                       .function = (uint64_t)function};
    for (int i = 0; i < num_parameters; i++) memcpy(&launch->parameters[i], given[i], sizes[i]);
    return CUDA_SUCCESS;
}

// What a GPU says of itself: one of 132 multiprocessors, with as much shared memory as an H200.
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = 232448; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 233472; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = 65536; break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
        default: *value = 1024;
    }
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : 0;
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    static uint64_t loaded;
    *module = (CUmodule)++loaded;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    *function = (CUfunction)module;
    return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr pointer) {
    *(CUdeviceptr *)value = pointer;  // memory of the host stands for that of the device
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = "an error of the stub";
    return CUDA_SUCCESS;
}

// Everything else succeeds, and gives the first of whatever there is.
#define GIVES(name, type, first, ...) \
    CUresult name(type *value, ##__VA_ARGS__) { *value = (type)(first); return CUDA_SUCCESS; }
#define DOES(name, ...) \
    CUresult name(__VA_ARGS__) { return CUDA_SUCCESS; }
#undef cuDevicePrimaryCtxRetain
GIVES(cuCtxGetCurrent, CUcontext, 1)
GIVES(cuCtxGetDevice, CUdevice, 0)
GIVES(cuCtxGetLimit, size_t, 0, CUlimit limit)
GIVES(cuDeviceGet, CUdevice, 0, int ordinal)
GIVES(cuDevicePrimaryCtxRetain, CUcontext, 1, CUdevice device)
GIVES(cuDriverGetVersion, int, 13000)
GIVES(cuMemAlloc_v2, CUdeviceptr, 0, size_t bytes)
GIVES(cuOccupancyMaxActiveClusters, int, 1, CUfunction function, const CUlaunchConfig *config)
DOES(cuCtxSetCurrent, CUcontext context)
DOES(cuCtxSetLimit, CUlimit limit, size_t bytes)
DOES(cuFuncSetAttribute, CUfunction function, CUfunction_attribute attribute, int value)
DOES(cuFuncSetCacheConfig, CUfunction function, CUfunc_cache config)
DOES(cuMemFree_v2, CUdeviceptr pointer)
DOES(cuModuleUnload, CUmodule module)
DOES(cuPointerGetAttributes, unsigned n, CUpointer_attribute *which, void **values, CUdeviceptr pointer)
DOES(cuStreamIsCapturing, CUstream stream, CUstreamCaptureStatus *status)
