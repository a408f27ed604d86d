#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace nestedfp::codec {

/// SHA-256 by the OpenSSL that the process already holds (node links it statically and exports it): found at
/// run time, so nothing is linked and no header of OpenSSL is needed. Not thread-safe.
class Sha256 {
   public:
    /// Whether the process exports the functions needed.
    static bool is_available();

    /// @throws std::runtime_error when OpenSSL refuses or is not there.
    Sha256();

    void update(const uint8_t* bytes, size_t count);
    /// Lower-case hex. The object must not be used afterwards.
    std::string digest();

   private:
    std::unique_ptr<void, void (*)(void*)> context_;
};

}  // namespace nestedfp::codec
