// What the kernels ask of the hardware: element types as raw bits, vector accesses, tensor core products.
// NAS_HOST: the same kernels for the host, where the including file supplies what is declared here.
#pragma once

namespace nas {

using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;

// BYTES of memory as 32-bit words; the smaller ones in the low half of one word.
template <int BYTES> struct Vector;
template <> struct Vector<16> { u32 w[4]; };
template <> struct Vector<8> { u32 w[2]; };
template <> struct Vector<4> { u32 w[1]; };
template <> struct Vector<2> { u32 w[1]; };

#ifndef NAS_HOST

#define NAS_DEVICE static __device__ __forceinline__

NAS_DEVICE Vector<16> load(const void* at, Vector<16>*) {
    const uint4 v = __ldg(static_cast<const uint4*>(at));
    return {{v.x, v.y, v.z, v.w}};
}
NAS_DEVICE Vector<8> load(const void* at, Vector<8>*) {
    const uint2 v = __ldg(static_cast<const uint2*>(at));
    return {{v.x, v.y}};
}
NAS_DEVICE Vector<4> load(const void* at, Vector<4>*) { return {{__ldg(static_cast<const u32*>(at))}}; }
NAS_DEVICE Vector<2> load(const void* at, Vector<2>*) { return {{__ldg(static_cast<const u16*>(at))}}; }

NAS_DEVICE void store(void* at, Vector<16> v) {
    *static_cast<uint4*>(at) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]);
}
NAS_DEVICE void store(void* at, Vector<8> v) { *static_cast<uint2*>(at) = make_uint2(v.w[0], v.w[1]); }
NAS_DEVICE void store(void* at, Vector<4> v) { *static_cast<u32*>(at) = v.w[0]; }
NAS_DEVICE void store(void* at, Vector<2> v) { *static_cast<u16*>(at) = static_cast<u16>(v.w[0]); }

NAS_DEVICE float as_float(u32 bits) { return __uint_as_float(bits); }
NAS_DEVICE u32 as_bits(float value) { return __float_as_uint(value); }
// Bytes of the eight of (b, a), lowest first, that the digits of `order` name, lowest digit first.
NAS_DEVICE u32 pick_bytes(u32 a, u32 b, u32 order) { return __byte_perm(a, b, order); }

NAS_DEVICE float exponential(float value) { return expf(value); }

NAS_DEVICE float half_to_float(u32 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<u16>(bits)));
    return value;
}
NAS_DEVICE u32 pack_half(float low, float high) {
    u32 bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}
NAS_DEVICE u32 pack_bfloat(float low, float high) {
    u32 bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// d += a b on a warp: a 16 x K, b K x 8, d 16 x 8; fragments as the PTX manual lays them out.
NAS_DEVICE void multiply_tf32(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
NAS_DEVICE void multiply_half(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
NAS_DEVICE void multiply_bfloat(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif

// An element type: its size, words for four elements, element e of them, two floats as two elements.
struct Float {
    static constexpr int BYTES = 4, WORDS = 4;
    NAS_DEVICE float get(const u32* words, int e) { return as_float(words[e]); }
    NAS_DEVICE void put(u32* words, int s, float low, float high) {
        words[2 * s] = as_bits(low);
        words[2 * s + 1] = as_bits(high);
    }
};
struct Half {
    static constexpr int BYTES = 2, WORDS = 2;
    NAS_DEVICE float get(const u32* words, int e) { return half_to_float(words[e / 2] >> (16 * (e % 2))); }
    NAS_DEVICE void put(u32* words, int s, float low, float high) { words[s] = pack_half(low, high); }
    NAS_DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { multiply_half(d, a, b0, b1); }
};
struct BFloat {
    static constexpr int BYTES = 2, WORDS = 2;
    NAS_DEVICE float get(const u32* words, int e) {
        return as_float(e % 2 ? words[e / 2] & 0xffff0000u : words[e / 2] << 16);
    }
    NAS_DEVICE void put(u32* words, int s, float low, float high) { words[s] = pack_bfloat(low, high); }
    NAS_DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { multiply_bfloat(d, a, b0, b1); }
};

}  // namespace nas
