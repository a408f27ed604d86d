#pragma once

#include <cstddef>
#include <cstdint>

// CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320), as zlib's: each call continues a finished checksum.
namespace nestedfp::codec {

uint32_t crc32_slicing(uint32_t crc, const uint8_t* bytes, size_t count);

#if defined(__x86_64__)
uint32_t crc32_pclmul(uint32_t crc, const uint8_t* bytes, size_t count);
#elif defined(__aarch64__)
/// Uses the crc32 instructions where the CPU has them.
uint32_t crc32_arm(uint32_t crc, const uint8_t* bytes, size_t count);
#endif

}  // namespace nestedfp::codec
