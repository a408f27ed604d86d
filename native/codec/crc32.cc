#include "codec/crc32.h"

#include <array>
#include <cstring>

namespace nestedfp::codec {
namespace {

using Table = std::array<uint32_t, 256>;

/// kTables[n][b] is the register after byte b and n zero bytes.
constexpr std::array<Table, 8> make_tables() {
    std::array<Table, 8> tables{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        tables[0][byte] = crc;
    }
    for (size_t n = 1; n < 8; ++n) {
        for (size_t byte = 0; byte < 256; ++byte) {
            const uint32_t before = tables[n - 1][byte];
            tables[n][byte] = before >> 8 ^ tables[0][before & 0xFF];
        }
    }
    return tables;
}

constexpr std::array<Table, 8> kTables = make_tables();

}  // namespace

// Slicing-by-8 (Kounavis and Berry, 2005): eight bytes a step, one table for each byte's distance to the end.
uint32_t crc32_slicing(uint32_t crc, const uint8_t* bytes, size_t count) {
    uint32_t state = ~crc;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t next;
        std::memcpy(&next, bytes, 8);
        next ^= state;
        state = 0;
        for (size_t n = 0; n < 8; ++n) state ^= kTables[7 - n][next >> 8 * n & 0xFF];
    }
    for (; count != 0; ++bytes, --count) state = state >> 8 ^ kTables[0][(state ^ *bytes) & 0xFF];
    return ~state;
}

}  // namespace nestedfp::codec
