// out = (x + f) * (sigmoid(f) - 0.5), element by element, for every element type.
//
// Maps are read as segments without gaps: one where a map fills its memory, one an image for channel slices
// of NCHW, one a pixel for those of channels_last. A thread takes a vector of one segment.
#include "launch.cuh"

namespace nas {

struct Elements {
    char *x, *f, *out;
    i64 x_segment, f_segment, out_segment;  // strides in elements
    u32 vectors, vectors_per_segment;
};

constexpr int THREADS = 256;

template <typename E, int WIDTH> __global__ void __launch_bounds__(THREADS) parameter_free(const Elements call) {
    constexpr int BYTES = WIDTH * E::BYTES, WORDS = WIDTH == 1 ? 1 : BYTES / 4, EACH = WIDTH == 1 ? 1 : 4 / E::BYTES;
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= call.vectors) return;
    const u32 segment = index / call.vectors_per_segment;
    const i64 at = static_cast<i64>(index - segment * call.vectors_per_segment) * WIDTH;
    const auto f = load(call.f + (segment * call.f_segment + at) * E::BYTES, (Vector<BYTES>*)nullptr);
    const auto x = load(call.x + (segment * call.x_segment + at) * E::BYTES, (Vector<BYTES>*)nullptr);
    Vector<BYTES> out;
#pragma unroll
    for (int k = 0; k < WORDS; ++k) {
        float value[2] = {};
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const float a = E::get(f.w + k, e);
            value[e] = (E::get(x.w + k, e) + a) * (1.0f / (1.0f + exponential(-a)) - 0.5f);
        }
        u32 words[2];
        E::put(words, 0, value[0], value[1]);
        out.w[k] = words[0];
    }
    store(call.out + (segment * call.out_segment + at) * E::BYTES, out);
}

template <typename E> static int run(Elements call, i64 segments, i64 length, cudaStream_t stream) {
    constexpr int WIDTH = 16 / E::BYTES;
    bool wide = length % WIDTH == 0;
    for (const char* data : {call.x, call.f, call.out}) wide = wide && reinterpret_cast<u64>(data) % 16 == 0;
    if (segments > 1)
        for (const i64 stride : {call.x_segment, call.f_segment, call.out_segment})
            wide = wide && stride % WIDTH == 0;
    const i64 per_segment = wide ? length / WIDTH : length;
    if (segments * per_segment > 0x7fffffff) return NOT_SERVED;
    call.vectors_per_segment = static_cast<u32>(per_segment);
    call.vectors = static_cast<u32>(segments * per_segment);
    const int blocks = static_cast<int>((call.vectors + THREADS - 1) / THREADS);
    if (wide) return launch(parameter_free<E, WIDTH>, blocks, THREADS, stream, call);
    return launch(parameter_free<E, 1>, blocks, THREADS, stream, call);
}

// A map as segments: how many, how long, and how far apart; false where pixels are not one axis.
struct Segments {
    i64 count, length, stride;
};

static bool segment(Segments& found, const Map& map, i64 num, i64 channels, i64 pixels, bool by_rows) {
    const i64 inner = by_rows ? map.channel : map.pixel, outer = by_rows ? map.pixel : map.channel;
    const i64 inner_count = by_rows ? channels : pixels, outer_count = by_rows ? pixels : channels;
    if (inner_count > 1 && inner != 1) return false;
    const bool dense = outer_count == 1 || outer == inner_count;  // an image without gaps
    if (dense) {
        const bool one = num == 1 || map.image == channels * pixels;
        found = one ? Segments{1, num * channels * pixels, 0} : Segments{num, channels * pixels, map.image};
        return true;
    }
    if (num > 1 && map.image != outer * outer_count) return false;
    found = {num * outer_count, inner_count, outer};
    return true;
}

// The coarsest cut that all three maps allow; false where they have none in common.
static bool cut(Elements& call, i64& segments, i64& length, const Map (&maps)[3], i64 num, i64 channels, i64 pixels) {
    for (const bool by_rows : {false, true}) {
        Segments found[3];
        bool fits = true;
        for (int k = 0; k < 3; ++k) fits = fits && segment(found[k], maps[k], num, channels, pixels, by_rows);
        if (!fits) continue;
        segments = 1;
        for (const Segments& one : found) segments = one.count > segments ? one.count : segments;
        length = num * channels * pixels / segments;
        i64* const strides[] = {&call.x_segment, &call.f_segment, &call.out_segment};
        for (int k = 0; k < 3; ++k) {
            if (found[k].count != segments && found[k].count != 1) return false;
            *strides[k] = found[k].count == segments ? found[k].stride : length;
        }
        return true;
    }
    return false;
}

}  // namespace nas

// Maps by element strides. element: 4 float32, 2 float16, 3 bfloat16. Returns as nas_span_attention does.
NAS_API int nas_parameter_free(
    void* x, void* f, void* out, nas::i64 element, nas::i64 num, nas::i64 channels, nas::i64 height, nas::i64 width,
    nas::i64 xn, nas::i64 xc, nas::i64 xh, nas::i64 xw, nas::i64 fn, nas::i64 fc, nas::i64 fh, nas::i64 fw,
    nas::i64 on, nas::i64 oc, nas::i64 oh, nas::i64 ow, void* stream) {
    using namespace nas;
    Map maps[3];
    const bool flat = flatten(maps[0], x, height, width, xn, xc, xh, xw) &&
                      flatten(maps[1], f, height, width, fn, fc, fh, fw) &&
                      flatten(maps[2], out, height, width, on, oc, oh, ow);
    Elements call = {};
    i64 segments = 1, length = 0;
    if (!flat || !cut(call, segments, length, maps, num, channels, height * width)) return NOT_SERVED;
    call.x = maps[0].data;
    call.f = maps[1].data;
    call.out = maps[2].data;
    cudaStream_t on_stream = static_cast<cudaStream_t>(stream);
    if (element == 4) return run<Float>(call, segments, length, on_stream);
    if (element == 2) return run<Half>(call, segments, length, on_stream);
    return run<BFloat>(call, segments, length, on_stream);
}
