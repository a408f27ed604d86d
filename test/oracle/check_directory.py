#!/usr/bin/env python3
"""Checks a converted directory against FORMAT.md 1.0: slow, simple, standard library only, and written from
FORMAT.md alone. It never looks at src/, so that tool and checker can only agree by both being right.

    python3 test/oracle/check_directory.py DIR [--source DIR_OR_FILE] [the options given to convert]

Prints one line per violation, `rule §N: file: tensor: message`, and exits 1; or `ok: ...` and exits 0.
"""

import argparse
import fnmatch
import hashlib
import math
import re
import sys
import zlib
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import container  # noqa: E402
import overlay  # noqa: E402
import rules  # noqa: E402

INDEX = "model.safetensors.index.json"
MANIFEST = "nestedfp/manifest.json"
SUMS = "nestedfp/SHA256SUMS"
SOURCE_HEADER = "__nestedfp__.source_header"
GITATTRIBUTES_LINE = "*.nfp filter=lfs diff=lfs merge=lfs -text"
OMITTED = "consolidated* *.bin *.gguf *.onnx *.h5 *.msgpack *.safetensors *.index.json".split()
REASONS = set(
    "unsupported_rank not_linear excluded dtype nonfinite range alignment bf16_inexact patches group".split()
)
# What a truncated or doctored file makes the code below raise; reported as a violation, never as a crash.
DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Report:
    """Collects violations; printing waits until the end so that a crash cannot hide one."""

    def __init__(self):
        self.lines = []

    def bad(self, section, file, message, tensor="-"):
        self.lines.append(f"rule §{section}: {file}: {tensor}: {message}")

    def expect(self, condition, section, file, message, tensor="-"):
        if not condition:
            self.bad(section, file, message, tensor)
        return bool(condition)

    def equal(self, actual, expected, section, file, what, tensor="-"):
        shown = f"{what} is {shorten(actual)}, expected {shorten(expected)}"
        return self.expect(actual == expected, section, file, shown, tensor)


def shorten(value):
    text = ascii(value)
    return text if len(text) <= 200 else text[:160] + f"... ({len(text)} characters)"


class Directory:
    """The converted directory, read whole: manifest, file list and the pairs of shards."""

    def __init__(self, root, report):
        self.root, self.report = root, report
        self.manifest = container.parse_json((root / MANIFEST).read_bytes())
        self.files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir())
        self.uppers = [f for f in self.files if re.fullmatch(r"model-\d+-of-\d+\.safetensors", f)]
        self.shards = [Shard(self, i + 1, len(self.uppers)) for i in range(len(self.uppers))]
        self.tensors = [t for shard in self.shards for t in shard.source.values()]
        self.entries = {e["name"]: e for e in self.manifest["tensors"]}

    def bytes(self, path):
        return (self.root / path).read_bytes()


class Shard:
    """One pair of upper and lower file, and the source file rebuilt from the two."""

    def __init__(self, directory, number, count):
        self.number, self.count = number, count
        self.upper_path = f"model-{number:05}-of-{count:05}.safetensors"
        self.lower_path = f"nestedfp/lower-{number:05}-of-{count:05}.nfp"
        self.upper = container.read(directory.root / self.upper_path)
        self.lower = container.read(directory.root / self.lower_path)
        header = bytes(self.lower.tensors[SOURCE_HEADER].data)
        parsed = container.parse_header(header)
        directory.report.equal(len(parsed.header), len(header), 4, self.lower_path, "header size", SOURCE_HEADER)
        self.source, self.source_header = parsed.tensors, header
        self.rebuild(directory.report)

    def is_split(self, name):
        """Split iff a scale belongs to it; the source has no such name, collisions are refused."""
        return name + "_scale" in self.upper.tensors and name + "_scale" not in self.source

    def shifts(self, name):
        """Row shifts from the scales, which must be powers of two: sign 0, mantissa 0, exponent 119 + s."""
        bits = overlay.array("I", bytes(self.upper.tensors[name + "_scale"].data))
        shifts = [(b >> 23) - 119 for b in bits]
        if any(b & 0x807FFFFF for b in bits) or not all(0 <= s <= overlay.MAX_SHIFT for s in shifts):
            raise ValueError(f"scales are not all 2^(s-8) with s in 0..15, first {bits[0]:#x}")
        return shifts

    def patches(self, tensor):
        """(index, value) pairs, checked for order and range."""
        index = self.lower.tensors.get(tensor.name + "_patch_index")
        value = self.lower.tensors.get(tensor.name + "_patch_value")
        if index is None and value is None:
            return []
        code, dtype = ("Q", "U64") if tensor.words > 2**32 else ("I", "U32")
        if index.dtype != dtype or value.dtype != "U16" or index.shape != value.shape or len(index.shape) != 1:
            raise ValueError(f"patch lists are {index.dtype} {index.shape} and {value.dtype} {value.shape}")
        positions = list(overlay.array(code, bytes(index.data)))
        if not positions:
            raise ValueError("an empty patch list must be left out")
        if any(a >= b for a, b in zip(positions, positions[1:])) or positions[-1] >= tensor.words:
            raise ValueError("patch_index is not strictly ascending below N*K")
        return list(zip(positions, overlay.array("H", bytes(value.data))))

    def rebuild(self, report):
        """Fills in tensor.data of the source tensors from the planes alone."""
        for tensor in self.source.values():
            try:
                split = self.is_split(tensor.name)
                tensor.data = self.rebuild_split(tensor, report) if split else self.copied(tensor)
            except DAMAGE as error:
                report.bad(4, self.upper_path, f"cannot rebuild: {type(error).__name__}: {error}", tensor.name)
                tensor.data = memoryview(bytes(tensor.end - tensor.begin))

    def copied(self, tensor):
        kept = self.upper.tensors[tensor.name]
        if (kept.dtype, kept.shape) != (tensor.dtype, tensor.shape):
            raise ValueError(f"kept as {kept.dtype} {kept.shape}, source {tensor.dtype} {tensor.shape}")
        return kept.data

    def rebuild_split(self, tensor, report):
        (rows, cols), name = tensor.shape, tensor.name
        upper, lower = self.upper.tensors[name], self.lower.tensors[name + "_lower"]
        scale = self.upper.tensors[name + "_scale"]
        forms = [(p.dtype, p.shape) for p in (upper, lower, scale)]
        wanted = [("F8_E4M3", [rows, cols]), ("U8", [rows, cols]), ("F32", [rows, 1])]
        if forms != wanted:
            raise ValueError(f"planes are {forms}, expected {wanted}")
        halves, wrong = overlay.canonical_words(bytes(upper.data), bytes(lower.data))
        if wrong:
            report.bad(1, self.upper_path, f"{len(wrong)} pairs are not canonical, first at {wrong[0]}", name)
        shifts = self.shifts(name)
        for row, shift in enumerate(shifts):
            # 0.9375 * 2 reaches the limit, so a row whose largest half is below could do with one shift less.
            words = halves[row * cols : (row + 1) * cols]
            if shift and max(w & 0x7FFF for w in words) < overlay.LIMIT_MAG - 1024:
                report.bad(2, self.upper_path, f"shift {shift} of row {row} is not minimal", name)
        return memoryview(overlay.decode(tensor.dtype, halves, cols, shifts, self.patches(tensor)))

    def rebuilt_bytes(self):
        return self.source_header + b"".join(t.data for t in container.in_data_order(self.source))


class Source:
    """The checkpoint the directory was made from, when it is at hand."""

    def __init__(self, path):
        self.root = path if path.is_dir() else path.parent
        single, index = self.root / "model.safetensors", self.root / INDEX
        self.index = None
        if path.is_file() and path.name.endswith(".safetensors"):
            self.paths = [path.name]
        elif path.is_dir() and single.is_file():
            self.paths = [single.name]
        else:
            index = index if path.is_dir() else path
            self.index = index.name
            self.paths = sorted(set(container.parse_json(index.read_bytes())["weight_map"].values()), key=container.utf8)
        self.copied, self.omitted = set(), set()
        for entry in self.root.iterdir():
            if entry.name in self.paths or entry.name == self.index:
                continue
            left_out = entry.is_dir() or any(fnmatch.fnmatchcase(entry.name, p) for p in OMITTED)
            (self.omitted if left_out else self.copied).add(entry.name)

    def bytes(self, name):
        return (self.root / name).read_bytes()


# --- §3: files -----------------------------------------------------------------------------------------------------


def check_files(d, source):
    """The file set, shard names, verbatim copies and nestedfp/source."""
    report, count = d.report, len(d.uppers)
    report.equal(d.uppers, [s.upper_path for s in d.shards], 3, "-", "the list of upper shards")
    report.expect(count > 0, 3, "-", "no upper shard")
    recorded = d.manifest["source"]
    index_name = recorded["index"]
    generated = {INDEX, MANIFEST, SUMS, ".gitattributes", "config.json", "nestedfp/source/config.json"}
    generated |= {s.upper_path for s in d.shards} | {s.lower_path for s in d.shards}
    if index_name:
        generated.add(f"nestedfp/source/{Path(index_name).name}.txt")
    for file in generated - set(d.files):
        report.bad(3, file, "missing")
    for file in d.files:
        check_file_name(d, file, generated)
    check_gitattributes(d)
    if source:
        check_against_source_files(d, source, generated)


def check_file_name(d, file, generated):
    report, root_file = d.report, "/" not in file
    report.expect(not (d.root / file).is_symlink(), 3, file, "a symbolic link")
    optional = {f"nestedfp/source/{n}" for n in ("README.md", ".gitattributes")}
    report.expect(root_file or file in generated | optional, 3, file, "does not belong here")
    if root_file and file not in generated:
        forbidden = file == "hf_quant_config.json" or any(fnmatch.fnmatchcase(file, p) for p in OMITTED)
        report.expect(not forbidden, 3, file, "must not be in the root")
    if file == "README.md":
        stored = d.root / "nestedfp/source/README.md"
        if report.expect(stored.is_file(), 3, file, "is not kept in nestedfp/source"):
            report.expect(stored.read_bytes() == d.bytes(file), 3, file, "differs from nestedfp/source/README.md")


def check_gitattributes(d):
    """The source's lines, then ours; a file of the source that already has the line may stay as it is."""
    stored = d.root / "nestedfp/source/.gitattributes"
    lines = stored.read_bytes() if stored.is_file() else b""
    line = GITATTRIBUTES_LINE.encode()
    separator = b"\n" if lines and not lines.endswith(b"\n") else b""
    actual, wanted = d.bytes(".gitattributes"), lines + separator + line + b"\n"
    already = line in lines.splitlines() and actual == lines
    d.report.expect(already or actual == wanted, 3, ".gitattributes", f"is {shorten(actual)}")


def check_against_source_files(d, source, generated):
    report = d.report
    for name in source.copied - {"config.json", ".gitattributes"}:
        if report.expect(name in d.files, 3, name, "not copied from the source"):
            report.expect(d.bytes(name) == source.bytes(name), 3, name, "differs from the source")
    for name in {f for f in d.files if "/" not in f} - generated - source.copied:
        report.bad(3, name, "is not in the source")
    verbatim = {n: n for n in ("config.json", "README.md", ".gitattributes") if n in source.copied}
    if source.index:
        verbatim[source.index + ".txt"] = source.index
    for stored, name in verbatim.items():
        path = f"nestedfp/source/{stored}"
        if report.expect(path in d.files, 3, path, "missing"):
            report.expect(d.bytes(path) == source.bytes(name), 3, path, "differs from the source")
    for path in [f for f in d.files if f.startswith("nestedfp/source/")]:
        report.expect(path.split("/")[-1] in verbatim, 3, path, "is not in the source")
    check_omitted(d, source)


def check_omitted(d, source):
    """A sub-folder may be listed as itself, with a final slash, or file by file."""
    listed = {str(o["path"]).split("/")[0] for o in d.manifest["source"]["omitted"]}
    d.report.equal(sorted(listed), sorted(source.omitted), 3, MANIFEST, "source.omitted")


# --- §4: containers ------------------------------------------------------------------------------------------------


def check_container(d, shard, path, file, role, wanted):
    """Tensor names, order, padding and metadata of one written file; wanted: name -> (dtype, shape)."""
    report = d.report
    forms = {t.name: (t.dtype, t.shape) for t in file.tensors.values()}
    for name in sorted(forms.keys() | wanted.keys()):
        report.equal(forms.get(name), wanted.get(name), 4, path, "stored form", name)
    order = sorted(
        file.tensors.values(), key=lambda t: (-container.DTYPES.index(t.dtype), container.utf8(t.name))
    )
    report.equal(list(file.tensors), [t.name for t in order], 4, path, "order of tensors in the header")
    position = 0
    for tensor in order:
        report.equal(tensor.begin, position, 4, path, "begin of data", tensor.name)
        position = tensor.end
    header = file.header
    padding = len(header) - len(header.rstrip(b" "))
    report.equal(len(header) % 4096, 0, 4, path, "size of 8 bytes and header modulo 4096")
    report.expect(padding < 4096 and header.endswith(b"}" + b" " * padding), 4, path, "header padding")
    report.expect(len(header) < 25_000_000, 4, path, f"header has {len(header)} bytes")
    metadata = {
        "format": "pt",
        "nestedfp.format_version": "1.0",
        "nestedfp.role": role,
        "nestedfp.shard": f"{shard.number}/{shard.count}",
        "nestedfp.source_sha256": d.manifest["source"]["files"][shard.number - 1]["sha256"],
    }
    report.equal(list(file.metadata.items()), list(metadata.items()), 4, path, "__metadata__")


def check_shard(d, shard):
    """Everything in the two files of one shard."""
    upper, lower = {}, {SOURCE_HEADER: ("U8", [len(shard.source_header)])}
    for tensor in shard.source.values():
        name = tensor.name
        if not shard.is_split(name):
            upper[name] = (tensor.dtype, tensor.shape)
            continue
        upper |= {name: ("F8_E4M3", tensor.shape), name + "_scale": ("F32", [tensor.shape[0], 1])}
        lower[name + "_lower"] = ("U8", tensor.shape)
        for suffix in ("_patch_index", "_patch_value"):
            # Their form is checked where they are read, their content against the plan.
            if name + suffix in shard.lower.tensors:
                stored = shard.lower.tensors[name + suffix]
                lower[name + suffix] = (stored.dtype, stored.shape)
    check_container(d, shard, shard.upper_path, shard.upper, "upper", upper)
    check_container(d, shard, shard.lower_path, shard.lower, "lower", lower)


def check_index(d):
    index = container.parse_json(d.bytes(INDEX))
    wanted = {name: s.upper_path for s in d.shards for name in s.upper.tensors}
    d.report.equal(sum(len(s.upper.tensors) for s in d.shards), len(wanted), 3, INDEX, "number of distinct names")
    size = sum(t.end - t.begin for s in d.shards for t in s.upper.tensors.values())
    d.report.equal(sorted(index), ["metadata", "weight_map"], 3, INDEX, "keys")
    d.report.equal(index["metadata"], {"total_size": size}, 3, INDEX, "metadata")
    for name in sorted(index["weight_map"].keys() | wanted.keys()):
        d.report.equal(index["weight_map"].get(name), wanted.get(name), 3, INDEX, "shard", name)


def check_source_index(d):
    """The stored index of the source names the tensors of the source headers, each in its file."""
    name = d.manifest["source"]["index"]
    if name:
        stored = f"nestedfp/source/{name}.txt"
        paths = [f["path"] for f in d.manifest["source"]["files"]]
        wanted = {t: path for shard, path in zip(d.shards, paths) for t in shard.source}
        d.report.equal(container.parse_json(d.bytes(stored))["weight_map"], wanted, 3, stored, "weight_map")


# --- §8: the source, byte for byte ---------------------------------------------------------------------------------


def check_sources(d, source):
    """Rebuilds each source file from the planes; then, with --source, lets the true bytes stand for the plan."""
    report, files = d.report, d.manifest["source"]["files"]
    report.equal(len(files), len(d.shards), 7, MANIFEST, "number of source files")
    paths = [f["path"] for f in files]
    report.equal(paths, sorted(paths, key=container.utf8), 3, MANIFEST, "order of source.files")
    if source:
        report.equal(paths, source.paths, 3, MANIFEST, "source.files")
        report.equal(d.manifest["source"]["index"], source.index, 7, MANIFEST, "source.index")
    for shard, entry in zip(d.shards, files):
        check_source_file(d, shard, entry, source)


def check_source_file(d, shard, entry, source):
    report, path = d.report, entry["path"]
    pair = {"upper": shard.upper_path, "lower": shard.lower_path}
    report.equal({k: entry[k] for k in pair}, pair, 7, MANIFEST, f"pair of {path}")
    length = len(shard.source_header) + sum(t.end - t.begin for t in shard.source.values())
    report.equal(entry["size"], length, 7, MANIFEST, f"size of {path}")
    headers = {sha256(shard.source_header), sha256(shard.source_header[8:])}
    report.expect(entry["header_sha256"] in headers, 7, MANIFEST, f"header_sha256 of {path}")
    rebuilt = shard.rebuilt_bytes()
    if d.manifest["restorable"]:
        report.equal(sha256(rebuilt), entry["sha256"], 8, path, "sha256 of the rebuilt file")
    if source:
        true = source.bytes(path)
        report.equal(sha256(true), entry["sha256"], 7, MANIFEST, f"sha256 of {path}")
        if d.manifest["restorable"]:
            report.expect(rebuilt == true, 8, path, "the rebuilt file differs from the source")
        header = container.parse_header(true)
        if report.expect(header.header == shard.source_header, 4, shard.lower_path, "differs", SOURCE_HEADER):
            for tensor in shard.source.values():
                begin = len(header.header) + tensor.begin
                tensor.data = memoryview(true)[begin : begin + tensor.end - tensor.begin]


# --- §5: the plan, and §7: what the manifest says of each tensor --------------------------------------------------


def check_tensors(d, verdicts, exact):
    """exact: all source bytes are known; else those of tensors that were split with losses are not."""
    report = d.report
    names = [t.name for t in d.tensors]
    report.equal(sorted(d.entries), sorted(names), 7, MANIFEST, "names of tensors")
    report.equal(len(d.manifest["tensors"]), len(names), 7, MANIFEST, "number of tensors")
    for shard in d.shards:
        for tensor in shard.source.values():
            try:
                verdict = verdicts[tensor.name]
                check_plan(d, shard, tensor, verdict)
                if tensor.name in d.entries:
                    check_entry(d, shard, tensor, verdict, exact or not verdict.lossy)
            except DAMAGE as error:
                report.bad(7, MANIFEST, f"cannot be checked: {type(error).__name__}: {error}", tensor.name)


def check_plan(d, shard, tensor, verdict):
    """Split or kept as the rules say, and the planes what the encoder makes of the source."""
    report, name, split = d.report, tensor.name, shard.is_split(tensor.name)
    said = "split" if split else "kept"
    wanted = f"kept ({verdict.reason})" if verdict.reason else "split"
    report.expect(split == (verdict.reason is None), 5, shard.upper_path, f"is {said}, rules say {wanted}", name)
    if not split:
        same = shard.upper.tensors[name].data == tensor.data
        report.expect(same, 4, shard.upper_path, "kept bytes differ from the source", name)
    elif verdict.encoded:
        encoded = verdict.encoded
        report.equal(shard.shifts(name), encoded.shifts, 2, shard.upper_path, "row shifts", name)
        upper, lower = bytes(shard.upper.tensors[name].data), bytes(shard.lower.tensors[name + "_lower"].data)
        first_difference(report, 1, shard.upper_path, name, upper, encoded.upper, tensor.shape[1])
        first_difference(report, 1, shard.lower_path, name, lower, encoded.lower, tensor.shape[1])
        patches = [] if verdict.lossy else list(zip(encoded.patch_index, encoded.patch_value))
        report.equal(shard.patches(tensor), patches, 4, shard.lower_path, "patch list", name)


def first_difference(report, section, file, tensor, actual, expected, cols):
    if actual != expected:
        at = next(i for i, (a, b) in enumerate(zip(actual, expected)) if a != b)
        where = f"byte {at} (row {at // cols}, column {at % cols})"
        report.bad(section, file, f"{where} is {actual[at]:#04x}, expected {expected[at]:#04x}", tensor)


def check_entry(d, shard, tensor, verdict, exact):
    report, entry, name = d.report, d.entries[tensor.name], tensor.name
    split = shard.is_split(name)
    report.equal(entry["dtype"], tensor.dtype, 7, MANIFEST, "dtype", name)
    report.equal(entry["shape"], tensor.shape, 7, MANIFEST, "shape", name)
    report.equal(entry["reason"] or None, verdict.reason, 5, MANIFEST, "reason", name)
    source_path = d.manifest["source"]["files"][shard.number - 1]["path"]
    report.expect(
        entry["file"] in (source_path, shard.upper_path, shard.lower_path), 7, MANIFEST, f"file {entry['file']}", name
    )
    report.expect(list(entry["offsets"]) in known_offsets(shard, name), 7, MANIFEST, "offsets", name)
    for key in ("planes", "patches", "inexact", "underflow", "max_shift", "max_abs"):
        report.expect(key in entry, 7, MANIFEST, f"no key {key}", name)
    check_crc(report, shard, tensor, entry, split, exact)
    if exact:
        check_max_abs(report, tensor, entry)
    if split and verdict.encoded:
        check_counts(report, entry, verdict, exact, name)


def known_offsets(shard, name):
    """Offsets may count from the data or from the file, in any of the files that hold the tensor."""
    places = [(shard.source[name], 0), (shard.source[name], len(shard.source_header))]
    for file in (shard.upper, shard.lower):
        for stored in (file.tensors[n] for n in (name, name + "_lower") if n in file.tensors):
            places += [(stored, 0), (stored, len(file.header))]
    return [[tensor.begin + base, tensor.end + base] for tensor, base in places]


def crc_values(value, inside=False):
    """Every crc32 in a manifest entry, as numbers: under any key that says crc32, decimal or 8 hex digits."""
    if isinstance(value, dict):
        return [c for k, v in value.items() for c in crc_values(v, inside or "crc32" in k)]
    if isinstance(value, list):
        return [c for v in value for c in crc_values(v, inside)]
    if not inside or value is None or isinstance(value, bool):
        return []
    return [value] if isinstance(value, int) else [int(value, 16)] if re.fullmatch(r"[0-9a-f]{8}", str(value)) else []


def check_crc(report, shard, tensor, entry, split, exact):
    name, found = tensor.name, set(crc_values(entry))
    stored = [f.tensors[n] for f in (shard.upper, shard.lower) for n in f.tensors if n.startswith(name)]
    known = {zlib.crc32(t.data) for t in stored if t.name[len(name) :] in PLANE_SUFFIXES}
    required = {"source": zlib.crc32(tensor.data)} if exact else {}
    if split:
        required["upper plane"] = zlib.crc32(shard.upper.tensors[name].data)
        required["lower plane"] = zlib.crc32(shard.lower.tensors[name + "_lower"].data)
    for what, crc in required.items():
        report.expect(crc in found, 7, MANIFEST, f"crc32 {crc:08x} of the {what} is not there", name)
    if exact:
        strange = found - known - set(required.values())
        report.expect(not strange, 7, MANIFEST, f"crc32 {[f'{c:08x}' for c in strange]} of nothing known", name)


PLANE_SUFFIXES = {"", "_scale", "_lower", "_patch_index", "_patch_value"}


def check_max_abs(report, tensor, entry):
    """Only a number is compared; tensors that were not scanned, or hold NaN, may say null."""
    stated = entry["max_abs"]
    if tensor.dtype not in overlay.WORD_CODE or not isinstance(stated, (int, float)):
        return
    true = overlay.max_abs(tensor.dtype, tensor.data)
    report.expect(not math.isfinite(true) or stated == true, 7, MANIFEST, f"max_abs {stated}, not {true}", tensor.name)


def check_counts(report, entry, verdict, exact, name):
    encoded = verdict.encoded
    report.equal(entry["max_shift"], max(encoded.shifts), 7, MANIFEST, "max_shift", name)
    report.equal(entry["patches"], 0 if verdict.lossy else encoded.inexact, 7, MANIFEST, "patches", name)
    if exact:
        report.equal(entry["inexact"], encoded.inexact, 7, MANIFEST, "inexact", name)
        report.equal(entry["underflow"], encoded.underflow, 7, MANIFEST, "underflow", name)


# --- §6: config.json -----------------------------------------------------------------------------------------------


def quantization_config(ignore):
    weights = {
        "num_bits": 8,
        "type": "float",
        "symmetric": True,
        "group_size": None,
        "strategy": "channel",
        "block_structure": None,
        "dynamic": False,
        "actorder": None,
        "observer": "minmax",
        "observer_kwargs": {},
    }
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": weights | {"strategy": "token", "dynamic": True, "observer": None},
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "ignore": ignore,
        "config_groups": {"group_0": group},
        "nestedfp": {"format_version": "1.0", "manifest": MANIFEST},
    }


def check_config(d, verdicts):
    report, file = d.report, "config.json"
    config = container.parse_json(d.bytes(file))
    actual = config.pop("quantization_config", None)
    original = container.parse_json(d.bytes("nestedfp/source/config.json"))
    original.pop("quantization_config", None)
    report.expect(same(config, original), 6, file, "keys other than quantization_config differ from the source")
    if not report.expect(isinstance(actual, dict), 6, file, "no quantization_config"):
        return
    wanted = quantization_config(rules.ignore_list(d.tensors, verdicts))
    report.equal(sorted(actual), sorted(wanted), 6, file, "keys of quantization_config")
    for key in wanted:
        alike = same(actual.get(key), wanted[key])
        report.expect(alike, 6, file, f"{key} is {shorten(actual.get(key))}, expected {shorten(wanted[key])}")
    check_stock_loader(d, actual.get("ignore") or [])


def same(a, b):
    """Equal, with true and 1 told apart."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def check_stock_loader(d, ignore):
    """The assertion at the end of section 6, on the stored files alone."""
    stored = {name: t for s in d.shards for name, t in s.upper.tensors.items()}
    source_names = {t.name for t in d.tensors}
    for name, tensor in stored.items():
        module = rules.module_of(name)
        quantised = name + "_scale" in stored
        if name.endswith(".weight_scale") and name not in source_names:
            d.report.expect(module not in ignore, 6, "config.json", "has a scale and is in ignore", module)
        elif tensor.dtype == "F8_E4M3" and name.endswith(".weight"):
            d.report.expect(quantised, 6, "config.json", "an F8 weight without a scale", name)
        elif rules.is_rank2_weight(tensor):
            d.report.expect(module in ignore, 6, "config.json", "16-bit weight missing from ignore", module)


# --- §7: manifest and SHA256SUMS -----------------------------------------------------------------------------------

MANIFEST_KEYS = "encoding files format format_version restorable source summary tensors tool".split()
SOURCE_KEYS = "dtype files index omitted repo revision".split()
SOURCE_FILE_KEYS = "header_sha256 lower path sha256 size upper".split()
SUMMARY_KEYS = "coverage kept kept_bytes reasons split split_bytes".split()


def check_manifest(d, verdicts):
    report, m = d.report, d.manifest
    report.equal(sorted(m), MANIFEST_KEYS, 7, MANIFEST, "keys")
    report.equal([m["format"], m["format_version"]], ["nestedfp", "1.0"], 7, MANIFEST, "format and version")
    encoding = {"id": "e4m3fn-rne-sat/1", "max_abs_exclusive": 1.875, "lower_codec": "raw"}
    report.equal(m["encoding"], encoding, 7, MANIFEST, "encoding")
    report.equal(sorted(m["tool"]), ["name", "version"], 7, MANIFEST, "keys of tool")
    report.equal(sorted(m["source"]), SOURCE_KEYS, 7, MANIFEST, "keys of source")
    for entry in m["source"]["files"]:
        report.equal(sorted(entry), SOURCE_FILE_KEYS, 7, MANIFEST, "keys of a source file")
    for entry in m["source"]["omitted"]:
        report.equal(sorted(entry), ["path", "reason"], 7, MANIFEST, "keys of an omitted file")
    check_restorable(d, verdicts)
    check_summary(d, verdicts)
    check_manifest_text(d)


def check_restorable(d, verdicts):
    """False as soon as a split tensor has words that are nowhere kept; lossless "lossy" tensors may say either."""
    split = [v for v in verdicts.values() if v.reason is None]
    lost = any(v.lossy and v.encoded.inexact for v in split)
    allowed = {False} if lost else {True, False} if any(v.lossy for v in split) else {True}
    d.report.expect(d.manifest["restorable"] in allowed, 7, MANIFEST, f"restorable {d.manifest['restorable']}")


def check_summary(d, verdicts):
    report, summary = d.report, d.manifest["summary"]
    report.equal(sorted(summary), SUMMARY_KEYS, 7, MANIFEST, "keys of summary")
    split = [t for t in d.tensors if verdicts[t.name].reason is None]
    kept = [t for t in d.tensors if verdicts[t.name].reason is not None]
    for key, tensors in (("split", split), ("kept", kept)):
        report.equal(summary[key], len(tensors), 7, MANIFEST, f"summary.{key}")
        report.expect(summary[key + "_bytes"] in byte_counts(d, tensors), 7, MANIFEST, f"summary.{key}_bytes")
    wanted = rules.coverage(d.tensors, verdicts)
    stated = summary["coverage"]
    close = wanted is None or isinstance(stated, (int, float)) and math.isclose(stated, wanted, abs_tol=1e-4)
    report.expect(close, 7, MANIFEST, f"coverage is {stated}, expected {wanted}")
    check_reasons(report, summary["reasons"], [verdicts[t.name].reason for t in kept])


def byte_counts(d, tensors):
    """Bytes of the source, or of all that is stored for the tensors; section 7 does not say which."""
    names = {t.name for t in tensors}
    stored = [t for s in d.shards for f in (s.upper, s.lower) for t in f.tensors.values()]
    owned = [t for t in stored if any(t.name == n + x for x in PLANE_SUFFIXES for n in owner(t.name, x) & names)]
    return {sum(t.end - t.begin for t in group) for group in (tensors, owned)}


def owner(name, suffix):
    return {name[: len(name) - len(suffix)]} if name.endswith(suffix) else set()


def check_reasons(report, stated, actual):
    """reason -> count, or reason -> {count or tensors: ...}; zero counts may be listed."""
    counts = {}
    for reason, value in stated.items():
        report.expect(reason in REASONS, 7, MANIFEST, f"unknown reason {reason}")
        if isinstance(value, dict):
            value = value.get("tensors", value.get("count"))
        if value:
            counts[reason] = value
    report.equal(counts, {r: actual.count(r) for r in set(actual)}, 7, MANIFEST, "summary.reasons")


def check_manifest_text(d):
    """Sorted keys at every level and 2 spaces of indent per open bracket."""

    def sorted_keys(pairs):
        keys = [k for k, _ in pairs]
        d.report.equal(keys, sorted(keys), 7, MANIFEST, "order of keys")
        return dict(pairs)

    text = d.bytes(MANIFEST).decode("utf-8")
    container.json.loads(text, object_pairs_hook=sorted_keys)
    depth = 0
    for number, line in enumerate(text.split("\n"), 1):
        brackets = re.sub(r'"(?:[^"\\]|\\.)*"', "", line).strip()
        closing = len(brackets) - len(brackets.lstrip("]}"))
        indent = len(line) - len(line.lstrip(" "))
        if line and not d.report.equal(indent, 2 * (depth - closing), 7, MANIFEST, f"indent of line {number}"):
            return
        depth += sum(brackets.count(c) for c in "[{") - sum(brackets.count(c) for c in "]}")


SUM_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
UNESCAPED = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def parse_sums(text):
    """path -> sha256; a leading backslash means that the path is escaped, as sha256sum does."""
    sums = {}
    for line in text.split("\n")[:-1]:
        escaped, digest, path = SUM_LINE.fullmatch(line).groups()
        if escaped:
            path = re.sub(r"\\[\\nr]", lambda m: UNESCAPED[m[0]], path)
        if path in sums:
            raise ValueError(f"{path} twice")
        sums[path] = digest
    if not text.endswith("\n"):
        raise ValueError("no newline at the end")
    return sums


def check_sums(d):
    report = d.report
    sums = parse_sums(d.bytes(SUMS).decode("utf-8"))
    wanted = set(d.files) - {SUMS, "README.md", ".gitattributes"}
    report.equal(sorted(sums), sorted(wanted), 3, SUMS, "list of files")
    for path in sorted(wanted & sums.keys()):
        report.equal(sums[path], sha256(d.bytes(path)), 3, SUMS, f"sha256 of {path}")
    files = {f["path"]: f for f in d.manifest["files"]}
    report.equal(len(files), len(d.manifest["files"]), 7, MANIFEST, "number of distinct files")
    report.equal(sorted(files), sorted(wanted - {MANIFEST}), 7, MANIFEST, "files")
    for path in sorted(files.keys() & wanted):
        entry, content = files[path], d.bytes(path)
        report.equal(sorted(entry), ["path", "role", "sha256", "size"], 7, MANIFEST, f"keys of {path}")
        report.equal((entry["size"], entry["sha256"]), (len(content), sha256(content)), 7, MANIFEST, path)


# --- the program ---------------------------------------------------------------------------------------------------


def attempt(report, section, what, step, *arguments):
    """Runs one check; what it cannot digest is itself a violation."""
    try:
        return step(*arguments)
    except DAMAGE as error:
        report.bad(section, what, f"cannot be checked: {type(error).__name__}: {error}")
        return None


def check(root, source_path, options):
    """-> (violations, closing words)"""
    report = Report()
    d = attempt(report, 3, str(root), Directory, root, report)
    if d is None:
        return report.lines, ""
    source = Source(source_path) if source_path else None
    attempt(report, 3, "-", check_files, d, source)
    for shard in d.shards:
        attempt(report, 4, shard.upper_path, check_shard, d, shard)
    attempt(report, 3, INDEX, check_index, d)
    attempt(report, 3, "nestedfp/source", check_source_index, d)
    attempt(report, 8, "-", check_sources, d, source)
    claimed = {name: e.get("reason") for name, e in d.entries.items()}
    verdicts = attempt(report, 5, "-", rules.plan, d.tensors, options, claimed)
    if verdicts is not None:
        exact = bool(source or d.manifest.get("restorable"))
        attempt(report, 7, MANIFEST, check_tensors, d, verdicts, exact)
        attempt(report, 6, "config.json", check_config, d, verdicts)
        attempt(report, 7, MANIFEST, check_manifest, d, verdicts)
    attempt(report, 3, SUMS, check_sums, d)
    split = sum(shard.is_split(name) for shard in d.shards for name in shard.source)
    return report.lines, f"{len(d.shards)} shards, {len(d.tensors)} tensors, {split} split"


def fraction(text):
    """5% or 0.05."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--no-row-shift", dest="row_shift", action="store_false")
    parser.add_argument("--bf16", choices=["patch", "refuse", "keep", "lossy"], default="patch")
    parser.add_argument("--max-patches", type=fraction, default=0.05, metavar="FRACTION")
    parser.add_argument("--allow-lossy", action="store_true")
    parser.add_argument("--exclude", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--include", action="append", default=[], metavar="PATTERN")
    return parser.parse_args(arguments)


def main(arguments):
    args = parse_arguments(arguments)
    chosen = {k: v for k, v in vars(args).items() if k not in ("directory", "source")}
    lines, summary = check(args.directory, args.source, rules.Options(**chosen))
    for line in lines:
        print(line)
    if not lines:
        print(f"ok: {args.directory}: {summary}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
