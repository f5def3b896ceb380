// The CUDA kernels on the host: a thread a lane, tensor core products after the PTX manual's layout.
//
// Four groups of 32 threads take warps in turn and share nothing but the maps, so that a race between warps
// is a race between threads. Products are exact; sums are rounded towards zero, as tensor cores do.
#pragma once
#define NAS_HOST

#include <pthread.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#define NAS_DEVICE static inline
#define __global__
#define __launch_bounds__(...)

struct Index { int x; };
using cudaStream_t = void*;
static thread_local Index threadIdx, blockIdx;

namespace nas {

using u16 = unsigned short;
using u32 = unsigned int;
template <int BYTES> struct Vector;

struct Warp {
    pthread_barrier_t barrier;
    u32 a[32][4], b[32][2];
};
static thread_local Warp* warp;

static inline float as_float(u32 bits) { float v; std::memcpy(&v, &bits, 4); return v; }
static inline u32 as_bits(float value) { u32 v; std::memcpy(&v, &value, 4); return v; }
static inline float exponential(float value) { return std::exp(value); }

static inline u32 pick_bytes(u32 a, u32 b, u32 order) {
    const uint64_t all = static_cast<uint64_t>(b) << 32 | a;
    u32 found = 0;
    for (int k = 0; k < 4; ++k) found |= static_cast<u32>(all >> 8 * (order >> 4 * k & 7) & 0xff) << 8 * k;
    return found;
}

static inline float half_to_float(u32 bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? std::ldexp(1024.0f + fraction, exponent - 25) : std::ldexp(float(fraction), -24));
}

static inline u32 float_to_half(float value) {
    const u32 sign = as_bits(value) >> 16 & 0x8000;
    const float size = std::fabs(value);
    if (std::isnan(value)) return sign | 0x7e00;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size < 0x1p-14f) return sign | static_cast<u32>(std::nearbyint(std::ldexp(size, 24)));
    const int exponent = std::ilogb(size);  // a fraction that rounds up to 2048 carries into the exponent
    return sign | ((exponent + 14) << 10) + static_cast<u32>(std::nearbyint(std::ldexp(size, 10 - exponent)));
}

static inline u32 float_to_bfloat(float value) {
    const u32 bits = as_bits(value);
    return std::isnan(value) ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline u32 pack_half(float low, float high) { return float_to_half(low) | float_to_half(high) << 16; }
static inline u32 pack_bfloat(float low, float high) { return float_to_bfloat(low) | float_to_bfloat(high) << 16; }

static inline float toward_zero(double value) {
    const float near = static_cast<float>(value);
    return std::fabs(near) > std::fabs(value) ? std::nextafter(near, 0.0f) : near;
}

// Lay the fragments side by side, multiply this lane's four elements, and let nobody overwrite them before.
template <typename Product> static void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, Product product) {
    const int lane = threadIdx.x % 32;
    for (int k = 0; k < 4; ++k) warp->a[lane][k] = a[k];
    warp->b[lane][0] = b0;
    warp->b[lane][1] = b1;
    pthread_barrier_wait(&warp->barrier);
    for (int k = 0; k < 4; ++k) d[k] = toward_zero(d[k] + product(lane / 4 + 8 * (k / 2), 2 * (lane % 4) + k % 2));
    pthread_barrier_wait(&warp->barrier);
}

static inline double tf32(u32 bits) { return as_float(bits & 0xffffe000u); }

static inline void multiply_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply(d, a, b0, b1, [](int row, int column) {
        double sum = 0;
        for (int k = 0; k < 8; ++k)
            sum += tf32(warp->a[row % 8 * 4 + k % 4][row / 8 + 2 * (k / 4)]) * tf32(warp->b[column * 4 + k % 4][k / 4]);
        return sum;
    });
}

template <typename Convert> static void multiply_16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, Convert convert) {
    multiply(d, a, b0, b1, [&](int row, int column) {
        double sum = 0;
        for (int k = 0; k < 16; ++k) {
            const u32 left = warp->a[row % 8 * 4 + k % 8 / 2][row / 8 + 2 * (k / 8)];
            const u32 right = warp->b[column * 4 + k % 8 / 2][k / 8];
            sum += double(convert(left >> 16 * (k % 2) & 0xffff)) * convert(right >> 16 * (k % 2) & 0xffff);
        }
        return sum;
    });
}

static inline void multiply_half(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_16(d, a, b0, b1, half_to_float);
}
static inline void multiply_bfloat(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_16(d, a, b0, b1, [](u32 bits) { return as_float(bits << 16); });
}

static inline void check_aligned(const void* at, int bytes) {
    if (reinterpret_cast<uintptr_t>(at) % bytes == 0) return;
    std::fprintf(stderr, "an access of %d bytes is not aligned\n", bytes);
    std::abort();
}
template <int BYTES> static Vector<BYTES> load(const void* at, Vector<BYTES>*) {
    Vector<BYTES> v = {};
    check_aligned(at, BYTES);
    std::memcpy(&v, at, BYTES);
    return v;
}
template <int BYTES> static void store(void* at, Vector<BYTES> v) {
    check_aligned(at, BYTES);
    std::memcpy(at, &v, BYTES);
}

template <typename Call>
static int launch(void (*kernel)(Call), int blocks, int threads, cudaStream_t, const Call& call) {
    constexpr int GROUPS = 4;
    const int warps = threads / 32;
    Warp shared[GROUPS];
    std::vector<std::thread> lanes;
    for (int group = 0; group < GROUPS; ++group) pthread_barrier_init(&shared[group].barrier, nullptr, 32);
    for (int group = 0; group < GROUPS; ++group)
        for (int lane = 0; lane < 32; ++lane)
            lanes.emplace_back([=, &shared, &call] {
                warp = &shared[group];
                for (int k = group; k < blocks * warps; k += GROUPS) {
                    blockIdx.x = k / warps;
                    threadIdx.x = k % warps * 32 + lane;
                    kernel(call);
                }
            });
    for (std::thread& one : lanes) one.join();
    for (Warp& one : shared) pthread_barrier_destroy(&one.barrier);
    return 0;
}

}  // namespace nas

extern "C" __attribute__((visibility("default"))) const char* nas_error_text(int) { return "on the host"; }
