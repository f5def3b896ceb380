// From strides of (N, C, H, W) to maps that the kernels take, the widest access they allow, and the launch.
#pragma once

#ifndef NAS_HOST
#include <cuda_runtime.h>
#endif

#include "tile.cuh"

#define NAS_API extern "C" __attribute__((visibility("default")))

namespace nas {

using u64 = unsigned long long;

constexpr int NOT_SERVED = -1;

// Rows and columns as one axis of pixels; false where no one stride says it.
static inline bool flatten(Map& map, void* data, i64 height, i64 width, i64 image, i64 channel, i64 row, i64 column) {
    i64 pixel = 1;
    if (height * width > 1) pixel = width == 1 ? row : column;
    map = {static_cast<char*>(data), image, channel, pixel};
    return height == 1 || width == 1 || row == width * column;
}

static inline bool planes(const Map* const (&maps)[3]) {
    return maps[0]->pixel == 1 && maps[1]->pixel == 1 && maps[2]->pixel == 1;
}

static inline bool rows(const Map* const (&maps)[3]) {
    return maps[0]->channel == 1 && maps[1]->channel == 1 && maps[2]->channel == 1;
}

// Pixels an access: as many as start aligned in every plane and divide its length.
static inline int plane_width(const Map* const (&maps)[3], int widest, int bytes, i64 num, int channels, int pixels) {
    for (int width = widest; width > 1; width /= 2) {
        bool fits = pixels % width == 0;
        for (const Map* map : maps)
            fits = fits && reinterpret_cast<u64>(map->data) % (width * bytes) == 0 &&
                   (num == 1 || map->image % width == 0) && (channels == 1 || map->channel % width == 0);
        if (fits) return width;
    }
    return 1;
}

// Whether accesses of `width` channels start aligned in every pixel.
static inline bool row_fits(const Map* const (&maps)[3], int width, int bytes) {
    bool fits = true;
    for (const Map* map : maps)
        fits = fits && reinterpret_cast<u64>(map->data) % (width * bytes) == 0 && map->image % width == 0 &&
               map->pixel % width == 0;
    return fits;
}

#ifndef NAS_HOST
template <typename Call>
static int launch(void (*kernel)(Call), int blocks, int threads, cudaStream_t stream, const Call& call) {
    kernel<<<blocks, threads, 0, stream>>>(call);
    return static_cast<int>(cudaGetLastError());
}
#endif

}  // namespace nas

#ifndef NAS_HOST
NAS_API const char* nas_error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }
#endif
