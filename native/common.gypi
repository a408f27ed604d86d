# What node's own common.gypi says of an addon, for build.mjs where only the headers of Node-API are there.
{
  "variables": {
    "node_engine%": "v8",
    "standalone_static_library%": 1,
  },
  "target_defaults": {
    "default_configuration": "Release",
    "configurations": {
      "Debug": {"defines": ["DEBUG", "_DEBUG"], "cflags": ["-g", "-O0"]},
      "Release": {"cflags": ["-O3", "-fno-omit-frame-pointer"]},
    },
    "cflags": ["-pthread", "-fPIC"],
    "ldflags": ["-pthread"],
    "conditions": [
      ["OS=='mac'", {"defines": ["_DARWIN_USE_64_BIT_INODE=1"]}],
    ],
  },
}
