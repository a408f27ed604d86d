"""Proves the checker: it accepts what a second, independent writer makes of every fixture, and rejects each mutation.

    python3 -m unittest discover -s test/oracle -p '*_test.py'     (or run this file)

The writer takes its arithmetic from fixtures/checkpoints/make.py (floats, word by word) and its plan from the
.expected.json files, so it shares nothing with the checker but FORMAT.md.
"""

import bisect
import hashlib
import json
import shutil
import struct
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
CHECKPOINTS = HERE.parent.parent / "fixtures" / "checkpoints"
sys.path[:0] = [str(HERE), str(CHECKPOINTS)]

import check_directory  # noqa: E402
import container  # noqa: E402
import make  # noqa: E402
import overlay  # noqa: E402

GROUP = check_directory.quantization_config([])["config_groups"]
HEADER = check_directory.SOURCE_HEADER
DATA_ORDER = list(reversed(container.DTYPES))


def e4m3_value(code):
    exponent, mantissa = code >> 3, code & 7
    return mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)


E4M3 = [e4m3_value(code) for code in range(127)]


def e4m3(x):
    """Nearest of the 127 finite magnitudes, ties to the even code, saturating at 448."""
    mag = abs(x)
    above = min(bisect.bisect_left(E4M3, mag), 126)
    below = max(above - 1, 0)
    distance = mag - E4M3[below], E4M3[above] - mag
    nearer = below if distance[0] < distance[1] or (distance[0] == distance[1] and below % 2 == 0) else above
    return nearer | (0x80 if struct.pack(">d", x)[0] & 0x80 else 0)


# --- the writer ----------------------------------------------------------------------------------------------------


def split(dtype, raw, shape):
    """-> (upper, lower, scales, patch positions) in the plainest way."""
    size, cols = make.BYTES[dtype], shape[1]
    words = struct.unpack(f"<{len(raw) // size}{make.CODE[size]}", raw)
    values = [make.value(dtype, w) for w in words]
    upper, lower, scales, patches = bytearray(), bytearray(), b"", []
    for begin in range(0, len(values), cols):
        row = values[begin : begin + cols]
        shift = make.row_shift(row)
        scales += struct.pack("<f", 2.0 ** (shift - 8))
        for k, v in enumerate(row):
            half = make.round_half(v / 2**shift)
            upper.append(e4m3(half * 256))
            lower.append(struct.pack("<e", half)[0])
            if half * 2**shift != v:
                patches.append((begin + k, words[begin + k]))
    return bytes(upper), bytes(lower), scales, patches


def container_bytes(tensors, metadata):
    """tensors: name -> (dtype, shape, bytes)"""
    header, position, data = {"__metadata__": dict(sorted(metadata.items()))}, 0, b""
    for name in sorted(tensors, key=lambda n: (DATA_ORDER.index(tensors[n][0]), n.encode())):
        dtype, shape, raw = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + len(raw)]}
        position, data = position + len(raw), data + raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 4096)
    return struct.pack("<Q", len(text)) + text + data


class Writer:
    """Converts one fixture."""

    def __init__(self, name, target):
        self.expected = json.loads((CHECKPOINTS / f"{name}.expected.json").read_text())
        self.path = CHECKPOINTS / name / self.expected["source"]
        self.source = check_directory.Source(self.path)
        self.root, self.total = target, len(self.source.paths)
        self.weight_map, self.size, self.entries, self.files = {}, 0, [], []
        (target / "nestedfp" / "source").mkdir(parents=True)

    def put(self, path, content):
        (self.root / path).write_bytes(content)

    def convert(self):
        for number, path in enumerate(self.source.paths, 1):
            self.shard(number, path)
        self.config()
        for name in self.source.copied - {"config.json", ".gitattributes"}:
            self.put(name, self.source.bytes(name))
        self.gitattributes()
        for name in {"config.json", "README.md", ".gitattributes"} & self.source.copied:
            self.put(f"nestedfp/source/{name}", self.source.bytes(name))
        if self.source.index:
            self.put(f"nestedfp/source/{self.source.index}.txt", self.source.bytes(self.source.index))
        index = {"metadata": {"total_size": self.size}, "weight_map": self.weight_map}
        self.put(check_directory.INDEX, json.dumps(index).encode())
        self.seal()

    def shard(self, number, path):
        raw = self.source.bytes(path)
        parsed = container.parse_header(raw)
        upper, lower = {}, {HEADER: ("U8", [len(parsed.header)], parsed.header)}
        names = f"model-{number:05}-of-{self.total:05}.safetensors", f"nestedfp/lower-{number:05}-of-{self.total:05}.nfp"
        for tensor in parsed.tensors.values():
            base = len(parsed.header)
            self.tensor(tensor, raw[base + tensor.begin : base + tensor.end], upper, lower, path)
        for name, role, tensors in zip(names, ("upper", "lower"), (upper, lower)):
            metadata = {"format": "pt", "nestedfp.format_version": "1.0", "nestedfp.role": role}
            metadata |= {"nestedfp.shard": f"{number}/{self.total}", "nestedfp.source_sha256": check_directory.sha256(raw)}
            self.put(name, container_bytes(tensors, metadata))
        self.weight_map |= {name: names[0] for name in upper}
        self.size += sum(len(t[2]) for t in upper.values())
        sums = {"sha256": check_directory.sha256(raw), "header_sha256": check_directory.sha256(parsed.header)}
        self.files.append({"path": path, "size": len(raw), "upper": names[0], "lower": names[1]} | sums)

    def tensor(self, tensor, raw, upper, lower, path):
        name, said = tensor.name, self.expected["tensors"][tensor.name]
        crc = {"source": zlib.crc32(raw)}
        if said["action"] == "keep":
            upper[name] = (tensor.dtype, tensor.shape, raw)
        else:
            high, low, scales, patches = split(tensor.dtype, raw, tensor.shape)
            upper[name] = ("F8_E4M3", tensor.shape, high)
            upper[name + "_scale"] = ("F32", [tensor.shape[0], 1], scales)
            lower[name + "_lower"] = ("U8", tensor.shape, low)
            if said["patches"]:
                count = [len(patches)]
                index, value = (struct.pack(f"<{len(patches)}{c}", *column) for c, column in zip("IH", zip(*patches)))
                lower[name + "_patch_index"] = ("U32", count, index)
                lower[name + "_patch_value"] = ("U16", count, value)
            crc |= {"upper": zlib.crc32(high), "lower": zlib.crc32(low)}
        numbers = {k: said.get(k) for k in ("reason", "max_shift", "patches", "inexact", "underflow")}
        largest = self.max_abs(tensor, raw) if said["action"] == "nest" else None
        place = {"file": path, "offsets": [tensor.begin, tensor.end], "crc32": crc, "planes": sorted(crc)}
        form = {"name": name, "dtype": tensor.dtype, "shape": tensor.shape, "max_abs": largest}
        self.entries.append(form | numbers | place)

    def max_abs(self, tensor, raw):
        size = make.BYTES[tensor.dtype]
        words = struct.unpack(f"<{len(raw) // size}{make.CODE[size]}", raw)
        return max(abs(make.value(tensor.dtype, w)) for w in words)

    def config(self):
        kept = {n for n, t in self.expected["tensors"].items() if t["action"] == "keep"}
        shapes = {e["name"]: e["shape"] for e in self.entries}
        ignore = {"lm_head"} | {n[:-7] for n in kept if n.endswith(".weight") and len(shapes[n]) == 2}
        ignore |= {n.rpartition(".")[0] for n in kept if ".experts." in n and len(shapes[n]) == 3}
        document = json.loads(self.source.bytes("config.json"))
        document["quantization_config"] = {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "quantization_status": "compressed",
            "global_compression_ratio": None,
            "kv_cache_scheme": None,
            "ignore": sorted(ignore, key=str.encode),
            "config_groups": GROUP,
            "nestedfp": {"format_version": "1.0", "manifest": "nestedfp/manifest.json"},
        }
        self.put("config.json", json.dumps(document).encode())

    def gitattributes(self):
        name = ".gitattributes"
        lines = self.source.bytes(name).decode().splitlines() if name in self.source.copied else []
        self.put(name, "\n".join([*lines, check_directory.GITATTRIBUTES_LINE, ""]).encode())

    def seal(self):
        """manifest.json and SHA256SUMS over what is there now."""
        seal(self.root, self.manifest())

    def manifest(self):
        expected = self.expected["tensors"]
        size = {e["name"]: e["offsets"][1] - e["offsets"][0] for e in self.entries}
        split_names = {n for n, t in expected.items() if t["action"] == "nest"}
        reasons = [t["reason"] for t in expected.values() if t["reason"]]
        omitted = [{"path": p, "reason": "not needed"} for p in self.expected["omitted"]]
        source = {"repo": None, "revision": None, "dtype": "F16", "index": self.source.index}
        return {
            "format": "nestedfp",
            "format_version": "1.0",
            "tool": {"name": "test", "version": "0"},
            "encoding": {"id": "e4m3fn-rne-sat/1", "max_abs_exclusive": 1.875, "lower_codec": "raw"},
            "restorable": self.expected["restorable"],
            "source": source | {"files": self.files, "omitted": omitted},
            "tensors": self.entries,
            "summary": {
                "split": len(split_names),
                "kept": len(expected) - len(split_names),
                "split_bytes": sum(size[n] for n in split_names),
                "kept_bytes": sum(size[n] for n in expected if n not in split_names),
                "coverage": self.expected["coverage"],
                "reasons": {r: reasons.count(r) for r in set(reasons)},
            },
        }


def listing(root, without):
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return {f: (root / f).read_bytes() for f in files if f not in without}


def seal(root, manifest):
    outside = {check_directory.SUMS, "README.md", ".gitattributes"}
    files = listing(root, outside | {check_directory.MANIFEST})
    manifest["files"] = [
        {"path": f, "role": "other", "size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for f, c in files.items()
    ]
    (root / check_directory.MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True))
    lines = [f"{hashlib.sha256(c).hexdigest()}  {f}\n" for f, c in listing(root, outside).items()]
    (root / check_directory.SUMS).write_text("".join(lines))


# --- the tests -----------------------------------------------------------------------------------------------------



def run_checker(root, source=None, options=()):
    args = check_directory.parse_arguments(["DIR", *options])
    chosen = {k: v for k, v in vars(args).items() if k not in ("directory", "source")}
    return check_directory.check(root, source, check_directory.rules.Options(**chosen))[0]


class Temporary(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def convert(self, name):
        writer = Writer(name, self.folder / name)
        writer.convert()
        return writer


class Overlay(unittest.TestCase):
    """§1: the tables against brute force over the values."""

    def test_all_eligible_words(self):
        pairs = set()
        for word in range(65536):
            if word & 0x7FFF < 0x3F80:
                upper, lower = overlay.decompose(word)
                self.assertEqual(upper, e4m3(overlay.word_values("F16")[word] * 256), hex(word))
                self.assertEqual(overlay.reconstruct(upper, lower), word)
                pairs.add((upper, lower))
        self.assertEqual(len(pairs), 32512)

    def test_rounding_to_half(self):
        for word, value in enumerate(overlay.word_values("BF16")):
            if abs(value) < 65504:
                half = overlay.word_values("F16")[overlay.to_half([value])[0]]
                self.assertEqual(half, make.round_half(value), hex(word))


class Accepts(Temporary):
    """Every fixture that converts, with and without the source at hand."""

    def test_fixtures(self):
        for file in sorted(CHECKPOINTS.glob("*.expected.json")):
            name = file.name.removesuffix(".expected.json")
            if json.loads(file.read_text())["exit"] == 0:
                with self.subTest(name):
                    writer = self.convert(name)
                    options = writer.expected["options"]
                    self.assertEqual(run_checker(writer.root, writer.path, options), [])
                    self.assertEqual(run_checker(writer.root, None, options), [])


class Rejects(Temporary):
    """One mutation each; sums are written anew where the mutation is meant to be found by a deeper rule."""

    def setUp(self):
        super().setUp()
        self.writer = self.convert("row-shift")
        self.root = self.writer.root
        self.upper, self.lower = self.root / self.writer.files[0]["upper"], self.root / self.writer.files[0]["lower"]
        self.name = "model.layers.0.self_attn.o_proj.weight"

    def rejected(self, pattern, reseal=True):
        if reseal:
            seal(self.root, json.loads((self.root / check_directory.MANIFEST).read_text()))
        self.assertRegex("\n".join(run_checker(self.root)), pattern)

    def edit_tensor(self, path, name, change):
        """change: bytearray of the tensor's data -> None"""
        file = container.read(path)
        tensor, raw = file.tensors[name], bytearray(path.read_bytes())
        at = slice(len(file.header) + tensor.begin, len(file.header) + tensor.end)
        data = raw[at]
        change(data)
        raw[at] = data
        path.write_bytes(raw)

    def edit_json(self, path, change):
        document = json.loads((self.root / path).read_text())
        change(document)
        text = json.dumps(document, indent=2, sort_keys=path == check_directory.MANIFEST)
        (self.root / path).write_text(text)

    def test_swapped_planes(self):
        file = container.read(self.upper)
        plane = bytes(file.tensors[self.name].data)
        other = bytes(container.read(self.lower).tensors[self.name + "_lower"].data)
        self.edit_tensor(self.upper, self.name, lambda d: d.__setitem__(slice(None), other))
        self.edit_tensor(self.lower, self.name + "_lower", lambda d: d.__setitem__(slice(None), plane))
        self.rejected("rule §1: .*not canonical")

    def test_flipped_bit_of_upper(self):
        self.edit_tensor(self.upper, self.name, lambda d: d.__setitem__(3, d[3] ^ 0x80))
        self.rejected("rule §8: .*sha256 of the rebuilt file")

    def test_scale_not_minimal(self):
        def double(scale):
            scale[124:128] = struct.pack("<f", struct.unpack("<f", scale[124:128])[0] * 2)

        self.edit_tensor(self.upper, "model.layers.0.mlp.down_proj.weight_scale", double)
        self.rejected("rule §2: .*not minimal")

    def test_scale_no_power_of_two(self):
        self.edit_tensor(self.upper, self.name + "_scale", lambda d: d.__setitem__(1, 1))
        self.rejected(r"scales are not all 2\^\(s-8\)")

    def test_patches_out_of_order(self):
        def swap(index):
            index[0:4], index[4:8] = index[4:8], index[0:4]

        self.edit_tensor(self.lower, self.name + "_patch_index", swap)
        self.rejected("not strictly ascending")

    def test_patch_moved(self):
        self.edit_tensor(self.lower, self.name + "_patch_index", lambda d: d.__setitem__(0, d[0] + 1))
        self.rejected("rule §8: .*sha256 of the rebuilt file")

    def test_patch_of_an_exact_word(self):
        """Word 0 is exact; a patch with its true value restores the file and is still one too many."""
        file = container.read(self.lower)
        tensors = {t.name: (t.dtype, t.shape, bytes(t.data)) for t in file.tensors.values()}
        source = container.read(self.writer.path / "model.safetensors").tensors[self.name].data
        for suffix, first in (("_patch_index", bytes(4)), ("_patch_value", bytes(source[:2]))):
            dtype, shape, raw = tensors[self.name + suffix]
            tensors[self.name + suffix] = (dtype, [shape[0] + 1], first + raw)
        self.lower.write_bytes(container_bytes(tensors, file.metadata))
        self.rejected("rule §4: .*patch list")

    def test_kept_tensor_changed(self):
        self.edit_tensor(self.upper, "lm_head.weight", lambda d: d.__setitem__(0, d[0] ^ 1))
        self.rejected("rule §8")

    def test_source_header_changed(self):
        self.edit_tensor(self.lower, HEADER, lambda d: d.__setitem__(d.index(b"pt"), ord("q")))
        self.rejected("rule §8: .*sha256|header_sha256")

    def test_missing_ignore_entry(self):
        self.edit_json("config.json", lambda c: c["quantization_config"]["ignore"].remove("model.embed_tokens"))
        self.rejected("rule §6: .*16-bit weight missing from ignore")

    def test_ignored_although_split(self):
        self.edit_json("config.json", lambda c: c["quantization_config"]["ignore"].append(self.name[:-7]))
        self.rejected("rule §6: .*has a scale and is in ignore")

    def test_extra_key_in_group(self):
        group = lambda c: c["quantization_config"]["config_groups"]["group_0"]  # noqa: E731
        self.edit_json("config.json", lambda c: group(c).update(format=None))
        self.rejected("rule §6: .*config_groups")

    def test_config_changed(self):
        self.edit_json("config.json", lambda c: c.update(torch_dtype="bfloat16"))
        self.rejected("rule §6: .*differ from the source")

    def test_wrong_sum(self):
        path = self.root / check_directory.SUMS
        text = path.read_text()
        path.write_text(("0" if text[0] != "0" else "1") + text[1:])
        self.rejected("rule §3: nestedfp/SHA256SUMS", reseal=False)

    def test_wrong_crc(self):
        self.edit_json(check_directory.MANIFEST, lambda m: m["tensors"][0]["crc32"].update(source=1))
        self.rejected("rule §7: .*crc32")

    def test_wrong_counts(self):
        for key in ("patches", "inexact", "underflow", "max_shift", "max_abs"):
            entry = next(i for i, e in enumerate(self.writer.entries) if e["name"] == self.name)
            with self.subTest(key):
                self.edit_json(check_directory.MANIFEST, lambda m: m["tensors"][entry].update({key: 3}))
                self.rejected(f"rule §7: .*{key}")

    def test_wrong_reason(self):
        self.edit_json(check_directory.MANIFEST, lambda m: m["tensors"][0].update(reason="range"))
        self.rejected("rule §5: .*reason")

    def test_wrong_summary(self):
        self.edit_json(check_directory.MANIFEST, lambda m: m["summary"].update(coverage=0.5, split=1))
        self.rejected("rule §7: .*(coverage|summary.split)")

    def test_total_size(self):
        self.edit_json(check_directory.INDEX, lambda i: i["metadata"].update(total_size=1))
        self.rejected("rule §3: model.safetensors.index.json")

    def test_stray_files(self):
        for path in ("pytorch_model.bin", "other.safetensors", "other.index.json", "hf_quant_config.json", "nestedfp/x"):
            with self.subTest(path):
                (self.root / path).write_bytes(b"{}")
                self.rejected(f"rule §3: {path}")
                (self.root / path).unlink()

    def test_missing_lower(self):
        self.lower.unlink()
        self.rejected("rule §3: .*cannot be checked: FileNotFoundError")

    def test_unpadded_header(self):
        raw = self.upper.read_bytes()
        length = struct.unpack("<Q", raw[:8])[0]
        text = raw[8 : 8 + length].rstrip()
        self.upper.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
        self.rejected("rule §4: .*modulo 4096")

    def test_manifest_not_sorted(self):
        manifest = json.loads((self.root / check_directory.MANIFEST).read_text())
        text = json.dumps(dict(reversed(manifest.items())), indent=2)
        (self.root / check_directory.MANIFEST).write_text(text)
        self.rejected("rule §7: .*order of keys", reseal=False)


if __name__ == "__main__":
    unittest.main()
