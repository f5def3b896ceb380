// Runs the CUDA kernels on the host over layouts and sizes, and prints a line a case:
//     NAME max|out - double| / max|double|      or      NAME not served
// Maps lie in memory of exactly their size (AddressSanitizer sees every step beyond); results start as NaN.
#include "host.hpp"

#ifdef NAS_CHANNELS
#include "kernel.cu"
#else
#define NAS_PARAMETER_FREE
#define NAS_CHANNELS 20
#define NAS_ELEMENT Float
#include "parameter_free.cu"
#endif

using namespace nas;
using E = NAS_ELEMENT;
constexpr int C = NAS_CHANNELS;

static unsigned seed = 1;
static float noise() {
    seed = seed * 1664525u + 1013904223u;
    return static_cast<float>(seed >> 8) / (1 << 23) - 1.0f;
}

struct Data {
    std::vector<char> bytes;
    Data(size_t count, bool random) : bytes(count * E::BYTES, char(0xff)) {
        for (size_t k = 0; random && k < count; ++k) set(k, noise());
    }
    void set(size_t k, float value) {
        u32 words[4];
        E::put(words, 0, value, value);
        std::memcpy(bytes.data() + k * E::BYTES, words, E::BYTES);
    }
    double get(size_t k) const {
        u32 word = 0;
        std::memcpy(&word, bytes.data() + k * E::BYTES, E::BYTES);
        return E::get(&word, 0);
    }
};

// A map inside memory of `spare` more channels before and after; spare < 0: only after.
struct Layout {
    i64 image, channel, row, column, first;
    size_t count;
    Layout(bool by_rows, int spare, i64 num, i64 height, i64 width) {
        const i64 all = C + 2 * spare;
        channel = by_rows ? 1 : height * width;
        column = by_rows ? all : 1;
        row = column * width;
        image = all * height * width;
        first = spare * channel;
        count = num * image;
    }
    size_t at(i64 n, i64 c, i64 h, i64 w) const { return first + n * image + c * channel + h * row + w * column; }
};

static void try_case(const char* name, bool by_rows, int spare, i64 num, i64 height, i64 width) {
    const Layout from(by_rows, spare, num, height, width), to(by_rows, 0, num, height, width);
    Data x(from.count, true), f(from.count, true), out(to.count, false), weight(C * C, true), bias(C, true);
    const auto at = [](Data& data, i64 first) { return static_cast<void*>(data.bytes.data() + first * E::BYTES); };
#ifdef NAS_PARAMETER_FREE
    const int code = nas_parameter_free(
        at(x, from.first), at(f, from.first), at(out, 0), 4, num, C, height, width,
#else
    const int code = nas_span_attention(
        at(x, from.first), at(f, from.first), at(weight, 0), at(bias, 0), at(out, 0), num, height, width,
#endif
        from.image, from.channel, from.row, from.column, from.image, from.channel, from.row, from.column,
        to.image, to.channel, to.row, to.column, nullptr);
    if (code != 0) {
        std::printf("%s not served\n", name);
        return;
    }
    double worst = 0, largest = 0;
    for (i64 n = 0; n < num; ++n)
        for (i64 h = 0; h < height; ++h)
            for (i64 w = 0; w < width; ++w)
                for (i64 c = 0; c < C; ++c) {
                    const double here = f.get(from.at(n, c, h, w));
                    double gate = 1 / (1 + std::exp(-here)) - 0.5;
#ifndef NAS_PARAMETER_FREE
                    gate = bias.get(c);
                    for (i64 k = 0; k < C; ++k) gate += weight.get(c * C + k) * f.get(from.at(n, k, h, w));
#endif
                    const double meant = (x.get(from.at(n, c, h, w)) + here) * gate;
                    const double wrong = std::fabs(out.get(to.at(n, c, h, w)) - meant);
                    worst = wrong <= worst ? worst : wrong;  // NaN stays
                    largest = std::fmax(largest, std::fabs(meant));
                }
    std::printf("%s %.3g\n", name, worst / largest);
}

int main() {
    for (const bool by_rows : {false, true})
        for (const int spare : {0, 1, 8}) {
            const auto name = [&](const char* what) {
                static char text[80];
                std::snprintf(text, sizeof text, "%s+%d:%s", by_rows ? "rows" : "planes", spare, what);
                return text;
            };
            try_case(name("3x8x12"), by_rows, spare, 3, 8, 12);
            try_case(name("1x3x47"), by_rows, spare, 1, 3, 47);
            try_case(name("2x1x2"), by_rows, spare, 2, 1, 2);
            try_case(name("1x1x1"), by_rows, spare, 1, 1, 1);
        }
}
