#if defined(__aarch64__)

#include <cstring>

#include "codec/crc32.h"

#if defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

namespace nestedfp::codec {
namespace {

/// Optional in ARMv8.0, required since 8.1; every Apple chip of this architecture has it.
bool has_crc32_instructions() {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#elif defined(__APPLE__)
    return true;
#else
    return false;
#endif
}

// As assembly: compilers do not agree on how a function asks for the intrinsics without a flag for the file.
uint32_t step8(uint32_t crc, uint64_t bytes) {
    asm(".arch_extension crc\n\tcrc32x %w0, %w0, %x1" : "+r"(crc) : "r"(bytes));
    return crc;
}

uint32_t step1(uint32_t crc, uint8_t byte) {
    asm(".arch_extension crc\n\tcrc32b %w0, %w0, %w1" : "+r"(crc) : "r"(static_cast<uint32_t>(byte)));
    return crc;
}

}  // namespace

uint32_t crc32_arm(uint32_t crc, const uint8_t* bytes, size_t count) {
    static const bool has_instructions = has_crc32_instructions();
    if (!has_instructions) return crc32_slicing(crc, bytes, count);
    uint32_t state = ~crc;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t next;
        std::memcpy(&next, bytes, 8);
        state = step8(state, next);
    }
    for (; count != 0; ++bytes, --count) state = step1(state, *bytes);
    return ~state;
}

}  // namespace nestedfp::codec

#endif
