// A warp's tile of pixels in registers, in the layout of the tensor cores' operands, and its way from and to
// memory.
//
// Lane l = 4 g + t holds pixel slots 0..SLOTS-1 and, of every group of 16 channels, four: e = 0..3. Which
// pixel is meant by a slot and which channel by (group, t, e) is free, as long as both operands and the result
// agree: so neighbouring slots (NCHW) or neighbouring e (channels_last) are neighbours in memory, and accesses
// are wide in both. The same lane holds the same elements of x, f and the product: nothing is read twice.
#pragma once

#include "device.cuh"

namespace nas {

// A map: first element, strides in elements by image, channel and pixel.
struct Map {
    char* data;
    i64 image, channel, pixel;
};

// Sizes of one specialisation. E: element type; WIDTH: elements an access; ROWS: channels_last.
template <typename Element, int CHANNELS, int ACCESS, bool CHANNELS_LAST> struct Sizes {
    using E = Element;
    static constexpr int C = CHANNELS, WIDTH = ACCESS;
    static constexpr bool ROWS = CHANNELS_LAST;
    static constexpr int GROUPS = (C + 15) / 16;
    static constexpr int SLOTS = WIDTH == 8 && !ROWS ? 8 : 4;
    static constexpr int PIXELS = 8 * SLOTS;  // of a tile
    static constexpr bool EIGHT = ROWS && WIDTH == 8;  // a lane's channels of two groups are neighbours
    static_assert(!EIGHT || (GROUPS % 2 == 0 && C % 8 == 0 && E::BYTES == 2), "eight channels a lane");

    NAS_DEVICE int channel(int group, int t, int e) {
        return EIGHT ? 32 * (group / 2) + 8 * t + 4 * (group % 2) + e : 16 * group + 4 * t + e;
    }
    // Whether a channel exists: known at compile time but in the last groups.
    NAS_DEVICE bool known(int group, int channel) { return (group + 1 + EIGHT) * 16 <= C || channel < C; }
};

// COUNT groups of channels of a warp's pixels.
template <typename S, int COUNT> struct Tile {
    u32 words[S::SLOTS][COUNT][S::E::WORDS];
};

// NCHW: a vector holds WIDTH pixels of one channel, slots v * WIDTH + q are pixels (8 v + g) * WIDTH + q.
template <typename S, int COUNT>
NAS_DEVICE void load_planes(Tile<S, COUNT>& tile, const Map& map, int group, int first, int pixels, int lane) {
    using E = typename S::E;
    constexpr int BYTES = S::WIDTH * E::BYTES;
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
#pragma unroll
        for (int e = 0; e < 4; e += 2)
#pragma unroll
            for (int v = 0; v < S::SLOTS / S::WIDTH; ++v) {
                const int p = first + (8 * v + g) * S::WIDTH;
                Vector<BYTES> raw[2] = {};
#pragma unroll
                for (int q = 0; q < 2; ++q) {
                    const int c = S::channel(group + i, t, e + q);
                    if (p < pixels && S::known(group + i, c))
                        raw[q] = load(map.data + (c * map.channel + p) * E::BYTES, (Vector<BYTES>*)nullptr);
                }
#pragma unroll
                for (int q = 0; q < S::WIDTH; ++q) {
                    u32* words = tile.words[v * S::WIDTH + q][i];
                    if constexpr (E::BYTES == 4) {
                        words[e] = raw[0].w[q];
                        words[e + 1] = raw[1].w[q];
                    } else {
                        words[e / 2] = pick_bytes(raw[0].w[q / 2], raw[1].w[q / 2], q % 2 ? 0x7632 : 0x5410);
                    }
                }
            }
}

template <typename S, int COUNT>
NAS_DEVICE void store_planes(const Tile<S, COUNT>& tile, const Map& map, int group, int first, int pixels, int lane) {
    using E = typename S::E;
    constexpr int BYTES = S::WIDTH * E::BYTES;
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
#pragma unroll
            for (int v = 0; v < S::SLOTS / S::WIDTH; ++v) {
                const int p = first + (8 * v + g) * S::WIDTH, c = S::channel(group + i, t, e);
                Vector<BYTES> raw;
#pragma unroll
                for (int q = 0; q < S::WIDTH; q += 4 / E::BYTES) {
                    const int slot = v * S::WIDTH + q;
                    if constexpr (E::BYTES == 4) {
                        raw.w[q] = tile.words[slot][i][e];
                    } else {
                        const u32 low = tile.words[slot][i][e / 2];
                        const u32 high = S::WIDTH > 1 ? tile.words[slot + (S::WIDTH > 1)][i][e / 2] : low;
                        raw.w[q / 2] = pick_bytes(low, high, e % 2 ? 0x7632 : 0x5410);
                    }
                }
                if (p < pixels && S::known(group + i, c)) store(map.data + (c * map.channel + p) * E::BYTES, raw);
            }
}

// channels_last: slot j is pixel 8 j + g; a vector holds WIDTH channels, or WIDTH is 1.
template <typename S, int COUNT>
NAS_DEVICE void load_rows(Tile<S, COUNT>& tile, const Map& map, int group, int first, int pixels, int lane) {
    using E = typename S::E;
    constexpr int BYTES = S::WIDTH * E::BYTES, STEP = S::EIGHT ? 2 : 1;
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int j = 0; j < S::SLOTS; ++j) {
        const int p = first + 8 * j + g;
#pragma unroll
        for (int i = 0; i < COUNT; i += STEP) {
            u32* words = tile.words[j][i];
            if constexpr (S::WIDTH > 1) {
                const int c = S::channel(group + i, t, 0);
                Vector<BYTES> raw = {};
                if (p < pixels && S::known(group + i, c))
                    raw = load(map.data + (p * map.pixel + c) * E::BYTES, (Vector<BYTES>*)nullptr);
#pragma unroll
                for (int k = 0; k < BYTES / 4; ++k) tile.words[j][i + k / E::WORDS][k % E::WORDS] = raw.w[k];
            } else {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const int c = S::channel(group + i, t, e);
                    Vector<BYTES> raw = {};
                    if (p < pixels && S::known(group + i, c))
                        raw = load(map.data + (p * map.pixel + c) * E::BYTES, (Vector<BYTES>*)nullptr);
                    if constexpr (E::BYTES == 4) words[e] = raw.w[0];
                    else words[e / 2] = e % 2 ? words[e / 2] | raw.w[0] << 16 : raw.w[0];
                }
            }
        }
    }
}

template <typename S, int COUNT>
NAS_DEVICE void store_rows(const Tile<S, COUNT>& tile, const Map& map, int group, int first, int pixels, int lane) {
    using E = typename S::E;
    constexpr int BYTES = S::WIDTH * E::BYTES, STEP = S::EIGHT ? 2 : 1;
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int j = 0; j < S::SLOTS; ++j) {
        const int p = first + 8 * j + g;
#pragma unroll
        for (int i = 0; i < COUNT; i += STEP) {
            if constexpr (S::WIDTH > 1) {
                const int c = S::channel(group + i, t, 0);
                Vector<BYTES> raw;
#pragma unroll
                for (int k = 0; k < BYTES / 4; ++k) raw.w[k] = tile.words[j][i + k / E::WORDS][k % E::WORDS];
                if (p < pixels && S::known(group + i, c)) store(map.data + (p * map.pixel + c) * E::BYTES, raw);
            } else {
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    const int c = S::channel(group + i, t, e);
                    const u32* words = tile.words[j][i];
                    const Vector<BYTES> raw = {{E::BYTES == 4 ? words[e % E::WORDS] : words[e / 2] >> 16 * (e % 2)}};
                    if (p < pixels && S::known(group + i, c)) store(map.data + (p * map.pixel + c) * E::BYTES, raw);
                }
            }
        }
    }
}

// Groups `group` and on of a map, from and to memory.
template <typename S, int COUNT>
NAS_DEVICE void load_tile(Tile<S, COUNT>& tile, const Map& map, int group, int first, int pixels, int lane) {
    if constexpr (S::ROWS) load_rows(tile, map, group, first, pixels, lane);
    else load_planes(tile, map, group, first, pixels, lane);
}

template <typename S, int COUNT>
NAS_DEVICE void store_tile(const Tile<S, COUNT>& tile, const Map& map, int group, int first, int pixels, int lane) {
    if constexpr (S::ROWS) store_rows(tile, map, group, first, pixels, lane);
    else store_planes(tile, map, group, first, pixels, lane);
}

}  // namespace nas
