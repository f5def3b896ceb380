// out = (x + f) * (W f + b) in one pass over x and f: one warp a tile of 32 (or 64) pixels with all channels.
//
// Compiled once for a channel count and an element type: NAS_CHANNELS, NAS_ELEMENT (Float, Half, BFloat).
// No shared memory and no barrier: the weights, read by every warp, stay in the first-level cache; features
// are in registers, in the layout of the tensor core operands (tile.cuh). float32 takes three TF32 products
// (hi hi + hi lo + lo hi), and their sums of 16 channels are added in float32, because the tensor cores round
// towards zero.
#include "launch.cuh"
#include "tile.cuh"

namespace nas {

struct Call {
    Map x, f, out;
    const char *weight, *bias;
    int pixels, tiles_per_image, tiles;
};

constexpr int WARPS = 4;

// A float32 operand as two TF32: what the tensor core keeps of it, and the rounded rest.
[[maybe_unused]] NAS_DEVICE void split(u32 bits, u32& high, u32& low) {
    high = bits & 0xffffe000u;
    low = as_bits(as_float(bits) - as_float(high)) + 0x1000u;
}

// Weights of output channel o by the lane's four input channels of group i; zeros beyond C.
template <typename S>
NAS_DEVICE void load_weights(u32 (&words)[S::E::WORDS], const char* weight, int o, int i, int t) {
    using E = typename S::E;
    const int c = S::channel(i, t, 0);
    const int row = o < S::C ? o : S::C - 1;  // beyond C: a sum that nobody reads
    const char* at = weight + (row * S::C + c) * E::BYTES;
    if constexpr (S::C % 4 == 0) {
        Vector<4 * E::BYTES> raw = {};
        if (S::known(i, c)) raw = load(at, (Vector<4 * E::BYTES>*)nullptr);
#pragma unroll
        for (int k = 0; k < E::WORDS; ++k) words[k] = raw.w[k];
    } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            Vector<E::BYTES> raw = {};
            if (S::known(i, c + e)) raw = load(at + e * E::BYTES, (Vector<E::BYTES>*)nullptr);
            if constexpr (E::BYTES == 4) words[e] = raw.w[0];
            else words[e / 2] = e % 2 ? words[e / 2] | raw.w[0] << 16 : raw.w[0];
        }
    }
}

// One group of input channels of a tile as operands of the tensor cores, for every 16 pixels.
template <typename S> struct Operand {
    static constexpr int PARTS = S::E::BYTES == 4 ? 2 : 1;  // float32: k = 0..7 and 8..15
    u32 high[S::SLOTS / 2][PARTS][4], low[S::SLOTS / 2][PARTS][4];  // low: of float32 alone

    NAS_DEVICE void take(Operand& operand, const Tile<S, S::GROUPS>& features, int i) {
#pragma unroll
        for (int j = 0; j < S::SLOTS; ++j)
#pragma unroll
            for (int e = 0; e < S::E::WORDS; ++e) {
                const int m = j / 2, part = PARTS == 2 ? e / 2 : 0, at = 2 * (e % 2) + j % 2;
                const u32 word = features.words[j][i][e];
                if constexpr (PARTS == 2) split(word, operand.high[m][part][at], operand.low[m][part][at]);
                else operand.high[m][part][at] = word;
            }
    }
};

// sums += the products of one group of input channels with 8 output channels.
template <typename S>
NAS_DEVICE void multiply(float (&sums)[S::SLOTS / 2][4], const Operand<S>& a, const u32 (&w)[S::E::WORDS]) {
    if constexpr (S::E::BYTES == 4) {
        u32 high[4], low[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) split(w[e], high[e], low[e]);
#pragma unroll
        for (int m = 0; m < S::SLOTS / 2; ++m) {
            float part[4] = {};
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                multiply_tf32(part, a.low[m][k], high[2 * k], high[2 * k + 1]);
                multiply_tf32(part, a.high[m][k], low[2 * k], low[2 * k + 1]);
            }
#pragma unroll
            for (int k = 0; k < 2; ++k) multiply_tf32(part, a.high[m][k], high[2 * k], high[2 * k + 1]);
#pragma unroll
            for (int k = 0; k < 4; ++k) sums[m][k] += part[k];
        }
    } else {
#pragma unroll
        for (int m = 0; m < S::SLOTS / 2; ++m) S::E::multiply(sums[m], a.high[m][0], w[0], w[1]);
    }
}

// Sums start at the bias.
template <typename S> NAS_DEVICE void start(float (&sums)[2][S::SLOTS / 2][4], const char* bias, int group, int t) {
    using E = typename S::E;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
        const int c = S::channel(group, t, e);
        const Vector<E::BYTES> raw = load(bias + (c < S::C ? c : S::C - 1) * E::BYTES, (Vector<E::BYTES>*)nullptr);
#pragma unroll
        for (int m = 0; m < S::SLOTS / 2; ++m) sums[e / 2][m][e % 2] = sums[e / 2][m][e % 2 + 2] = E::get(raw.w, 0);
    }
}

// skip[place] becomes (skip[place] + features[here]) * gate, for output group `group`; features[i] holds input
// group (i + shift) % GROUPS.
template <typename S, int COUNT>
NAS_DEVICE void attend(
    Tile<S, COUNT>& skip, int place, const Tile<S, S::GROUPS>& features, int here, int shift, int group,
    const Call& call, int lane) {
    using E = typename S::E;
    const int g = lane / 4, t = lane % 4;
    float sums[2][S::SLOTS / 2][4];
    start<S>(sums, call.bias, group, t);
#pragma unroll
    for (int i = 0; i < S::GROUPS; ++i) {
        const int from = i + shift < S::GROUPS ? i + shift : i + shift - S::GROUPS;
        Operand<S> operand;
        Operand<S>::take(operand, features, i);
#pragma unroll
        for (int s = 0; s < 2; ++s) {  // 8 output channels: columns 2 t, 2 t + 1 are elements 2 s, 2 s + 1
            u32 w[E::WORDS];
            load_weights<S>(w, call.weight, S::channel(group, g / 2, 2 * s + g % 2), from, t);
            multiply<S>(sums[s], operand, w);
        }
    }
#pragma unroll
    for (int j = 0; j < S::SLOTS; ++j)
#pragma unroll
        for (int s = 0; s < 2; ++s) {
            const u32* f = features.words[j][here];
            u32* x = skip.words[j][place];
            const float* gate = sums[s][j / 2] + 2 * (j % 2);
            const float low = (E::get(x, 2 * s) + E::get(f, 2 * s)) * gate[0];
            const float high = (E::get(x, 2 * s + 1) + E::get(f, 2 * s + 1)) * gate[1];
            E::put(x, s, low, high);
        }
}

// All of x at once: 16 channels of float32, or 64 of two bytes, fit in registers beside f.
template <typename S>
NAS_DEVICE void attend_unrolled(const Call& call, const Map& x, const Map& f, const Map& out, int first, int lane) {
    Tile<S, S::GROUPS> features, skip;
    load_tile(features, f, 0, first, call.pixels, lane);
    load_tile(skip, x, 0, first, call.pixels, lane);
#pragma unroll
    for (int group = 0; group < S::GROUPS; ++group) attend<S>(skip, group, features, group, 0, group, call, lane);
    store_tile(skip, out, 0, first, call.pixels, lane);
}

// x group by group, on its way during the group's products; f turns in its registers: they have no index that is
// known at run time alone.
template <typename S>
NAS_DEVICE void attend_rolled(const Call& call, const Map& x, const Map& f, const Map& out, int first, int lane) {
    Tile<S, S::GROUPS> features;
    load_tile(features, f, 0, first, call.pixels, lane);
#pragma unroll 1
    for (int group = 0; group < S::GROUPS; ++group) {
        Tile<S, 1> skip;
        load_tile(skip, x, group, first, call.pixels, lane);
        attend<S>(skip, 0, features, 0, group, group, call, lane);
        store_tile(skip, out, group, first, call.pixels, lane);
#pragma unroll
        for (int j = 0; j < S::SLOTS; ++j)
#pragma unroll
            for (int k = 0; k < S::E::WORDS; ++k) {
                const u32 word = features.words[j][0][k];
#pragma unroll
                for (int i = 1; i < S::GROUPS; ++i) features.words[j][i - 1][k] = features.words[j][i][k];
                features.words[j][S::GROUPS - 1][k] = word;
            }
    }
}

// Blocks a multiprocessor that registers are rationed for: found by compiling, no choice here spills.
template <typename S> constexpr int blocks() {
    return S::E::BYTES == 4 && S::GROUPS >= 3 && S::WIDTH == 4 ? 2 : 0;
}

template <typename S> __global__ void __launch_bounds__(32 * WARPS, blocks<S>()) span_attention(const Call call) {
    using E = typename S::E;
    const int lane = threadIdx.x % 32;
    const int index = blockIdx.x * WARPS + threadIdx.x / 32;
    if (index >= call.tiles) return;  // a whole warp at a time
    const int image = index / call.tiles_per_image;
    const int first = (index - image * call.tiles_per_image) * S::PIXELS;
    Map x = call.x, f = call.f, out = call.out;
    x.data += image * x.image * E::BYTES;
    f.data += image * f.image * E::BYTES;
    out.data += image * out.image * E::BYTES;
    if constexpr (E::BYTES == 4 && S::GROUPS > 1) attend_rolled<S>(call, x, f, out, first, lane);
    else attend_unrolled<S>(call, x, f, out, first, lane);
}

template <int WIDTH, bool ROWS> static int run(Call call, i64 num, cudaStream_t stream) {
    using S = Sizes<NAS_ELEMENT, NAS_CHANNELS, WIDTH, ROWS>;
    call.tiles_per_image = (call.pixels + S::PIXELS - 1) / S::PIXELS;
    if (num * call.tiles_per_image > 0x7fffffff - WARPS) return NOT_SERVED;
    call.tiles = static_cast<int>(num) * call.tiles_per_image;
    return launch(span_attention<S>, (call.tiles + WARPS - 1) / WARPS, 32 * WARPS, stream, call);
}

}  // namespace nas

// Maps of one layout, NCHW or channels_last, all by element strides; weight and bias dense. Returns 0, an error
// of the CUDA runtime, or NOT_SERVED: layouts that have to be made equal first.
NAS_API int nas_span_attention(
    void* x, void* f, void* weight, void* bias, void* out, nas::i64 num, nas::i64 height, nas::i64 width,
    nas::i64 xn, nas::i64 xc, nas::i64 xh, nas::i64 xw, nas::i64 fn, nas::i64 fc, nas::i64 fh, nas::i64 fw,
    nas::i64 on, nas::i64 oc, nas::i64 oh, nas::i64 ow, void* stream) {
    using namespace nas;
    constexpr int BYTES = NAS_ELEMENT::BYTES, C = NAS_CHANNELS;
    Call call = {};
    call.weight = static_cast<const char*>(weight);
    call.bias = static_cast<const char*>(bias);
    if (height * width > 0x7fffffff - 64) return NOT_SERVED;
    call.pixels = static_cast<int>(height * width);
    const bool flat = flatten(call.x, x, height, width, xn, xc, xh, xw) &&
                      flatten(call.f, f, height, width, fn, fc, fh, fw) &&
                      flatten(call.out, out, height, width, on, oc, oh, ow);
    if (!flat || (C % 4 == 0 && reinterpret_cast<u64>(weight) % (4 * BYTES) != 0)) return NOT_SERVED;
    const Map* maps[] = {&call.x, &call.f, &call.out};
    cudaStream_t on_stream = static_cast<cudaStream_t>(stream);
    if (planes(maps)) {
        const int widest = 16 / BYTES;
        const int fits = plane_width(maps, widest, BYTES, num, C, call.pixels);
        if constexpr (BYTES == 2)
            if (fits == 8) return run<BYTES == 2 ? 8 : 4, false>(call, num, on_stream);
        if (fits == 4) return run<4, false>(call, num, on_stream);
        if (fits == 2) return run<2, false>(call, num, on_stream);
        return run<1, false>(call, num, on_stream);
    }
    if (!rows(maps)) return NOT_SERVED;
    constexpr bool EIGHT = BYTES == 2 && C % 8 == 0 && ((C + 15) / 16) % 2 == 0;
    if constexpr (EIGHT)
        if (row_fits(maps, 8, BYTES)) return run<EIGHT ? 8 : 4, true>(call, num, on_stream);
    if constexpr (C % 4 == 0) return row_fits(maps, 4, BYTES) ? run<4, true>(call, num, on_stream) : NOT_SERVED;
    else return run<1, true>(call, num, on_stream);
}
