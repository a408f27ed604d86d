# Built by build.mjs. `codec` knows nothing of Node-API, so that codec_bench can run without node.
{
  "target_defaults": {
    "default_configuration": "Release",
    "include_dirs": ["."],
    "cflags!": ["-Werror"],
    "cflags_cc!": ["-std=gnu++17", "-fno-exceptions"],
    "cflags_cc": [
      "-std=c++20",
      "-O3",
      "-Wall",
      "-Wextra",
      "-fvisibility=hidden",
      # Sums must not depend on whether the compiler fuses a multiplication with an addition.
      "-ffp-contract=off",
    ],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "CLANG_CXX_LIBRARY": "libc++",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CFLAGS": ["-ffp-contract=off"],
      "WARNING_CFLAGS": ["-Wall", "-Wextra"],
    },
  },
  "targets": [
    {
      "target_name": "codec",
      "type": "static_library",
      # The files of the other architecture compile to nothing.
      "sources": [
        "codec/avx2.cc",
        "codec/avx512.cc",
        "codec/crc32.cc",
        "codec/crc32_arm.cc",
        "codec/crc32_pclmul.cc",
        "codec/dispatch.cc",
        "codec/neon.cc",
        "codec/rows.cc",
        "codec/scalar.cc",
        "codec/sha256.cc",
      ],
      "link_settings": {"libraries": ["-ldl"]},
    },
    {
      "target_name": "nestedfp",
      "dependencies": [
        "codec",
        "<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all",
      ],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        # A worker thread that is being terminated cannot take an exception any more.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      "sources": [
        "addon.cc",
        "napi/arguments.cc",
        "napi/block_arguments.cc",
        "napi/codec_pool.cc",
        "napi/file_lock.cc",
        "napi/promise_runner.cc",
        "napi/sha256_handle.cc",
        "pool/serial_queue.cc",
        "pool/thread_pool.cc",
      ],
      "libraries": ["-pthread"],
    },
    {
      "target_name": "codec_bench",
      "type": "executable",
      "dependencies": ["codec"],
      "sources": ["bench/codec_bench.cc"],
    },
  ],
}
