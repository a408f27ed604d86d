#include "codec/sha256.h"

#include <dlfcn.h>

#include <stdexcept>

namespace nestedfp::codec {
namespace {

/// The functions of <openssl/evp.h>, ABI-stable since OpenSSL 1.1; contexts and digests are opaque there.
struct Evp {
    void* (*new_context)();
    void (*free_context)(void* context);
    const void* (*sha256)();
    int (*init)(void* context, const void* digest, void* engine);
    int (*update)(void* context, const void* bytes, size_t count);
    int (*finish)(void* context, unsigned char* digest, unsigned int* digest_bytes);

    bool is_complete() const { return new_context && free_context && sha256 && init && update && finish; }
};

template <typename Function>
void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

const Evp& evp() {
    static const Evp functions = [] {
        Evp found{};
        find(found.new_context, "EVP_MD_CTX_new");
        find(found.free_context, "EVP_MD_CTX_free");
        find(found.sha256, "EVP_sha256");
        find(found.init, "EVP_DigestInit_ex");
        find(found.update, "EVP_DigestUpdate");
        find(found.finish, "EVP_DigestFinal_ex");
        return found;
    }();
    return functions;
}

void check(int status, const char* function) {
    if (status != 1) throw std::runtime_error(std::string("sha256: OpenSSL's ") + function + " failed");
}

void* new_context() {
    if (!evp().is_complete())
        throw std::runtime_error("sha256: this process does not export OpenSSL's EVP_*");
    return evp().new_context();
}

void free_context(void* context) { evp().free_context(context); }

}  // namespace

bool Sha256::is_available() { return evp().is_complete(); }

Sha256::Sha256() : context_(new_context(), free_context) {
    check(context_ != nullptr, "EVP_MD_CTX_new");
    check(evp().init(context_.get(), evp().sha256(), nullptr), "EVP_DigestInit_ex");
}

void Sha256::update(const uint8_t* bytes, size_t count) {
    check(evp().update(context_.get(), bytes, count), "EVP_DigestUpdate");
}

std::string Sha256::digest() {
    std::array<unsigned char, 32> digest{};
    check(evp().finish(context_.get(), digest.data(), nullptr), "EVP_DigestFinal_ex");
    std::string hex;
    for (const unsigned char byte : digest) {
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
}

}  // namespace nestedfp::codec
