#pragma once

#include <string>
#include <vector>

namespace nestedfp::cuda {

/// A shared library that stays loaded until the process ends.
class Library {
   public:
    /// Tries each name or path in order. @throws CudaError with the reason of each attempt, and `hint`.
    static Library open(const std::string& title, const std::vector<std::string>& candidates,
                        const std::string& hint);

    /// @throws CudaError naming the library and the symbol.
    void* symbol(const char* name) const;
    /// nullptr where the library has none.
    void* find(const char* name) const noexcept;

    /// What dlopen took.
    const std::string& path() const { return path_; }

   private:
    Library(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

    void* handle_;
    std::string path_;
};

/// The paths that match shell patterns, in the order of the patterns.
std::vector<std::string> matching_paths(const std::vector<std::string>& patterns);

}  // namespace nestedfp::cuda
