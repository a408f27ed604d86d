"""A safetensors file read strictly and whole (FORMAT.md sections 4 and 9). JSON as pairs, so that nothing is lost."""

import json
from dataclasses import dataclass, field

# Section 9's list; section 4 stores tensors in the reverse of this order.
DTYPES = (
    "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ "
    "I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64"
).split()
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16}
BITS |= {"BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
BITS |= {d: 8 for d in DTYPES if d.startswith("F8_")}


class Malformed(ValueError):
    """The file is no safetensors file; the message says why."""


@dataclass
class Tensor:
    name: str
    dtype: str
    shape: list
    begin: int
    end: int
    data: memoryview = field(repr=False, default=None)

    @property
    def words(self):
        count = 1
        for n in self.shape:
            count *= n
        return count


@dataclass
class Container:
    header: bytes  # the first 8 + N bytes
    metadata: dict
    tensors: dict  # name -> Tensor, in the order of the header


def utf8(text):
    return text.encode("utf-8")


def unique(pairs):
    """object_pairs_hook that refuses duplicate keys."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("duplicate key in JSON")
    return result


def parse_json(raw):
    return json.loads(bytes(raw).decode("utf-8"), object_pairs_hook=unique)


def parse_header(raw):
    """raw starts with the 8 length bytes; anything after the header is ignored."""
    if len(raw) < 8:
        raise Malformed("shorter than 8 bytes")
    end = 8 + int.from_bytes(raw[:8], "little")
    if end > len(raw):
        raise Malformed(f"header ends at {end}, file at {len(raw)}")
    entries = parse_json(raw[8:end])
    metadata = entries.pop("__metadata__", {})
    tensors = {name: parse_tensor(name, info) for name, info in entries.items()}
    return Container(bytes(raw[:end]), metadata, tensors)


def parse_tensor(name, info):
    begin, end = info["data_offsets"]
    tensor = Tensor(name, info["dtype"], info["shape"], begin, end)
    if info["dtype"] not in BITS or set(info) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"{name}: not a tensor of a known dtype: {info}")
    if (end - begin) * 8 != tensor.words * BITS[tensor.dtype]:
        raise Malformed(f"{name}: {tensor.dtype} {tensor.shape} does not take {end - begin} bytes")
    return tensor


def in_data_order(tensors):
    return sorted(tensors.values(), key=lambda t: (t.begin, t.end))


def read(path):
    raw = memoryview(path.read_bytes())
    container = parse_header(raw)
    data, position = raw[len(container.header) :], 0
    for tensor in in_data_order(container.tensors):
        if tensor.begin != position:
            raise Malformed(f"{tensor.name}: hole or overlap at {position}")
        position, tensor.data = tensor.end, data[tensor.begin : tensor.end]
    if position != len(data):
        raise Malformed(f"tensors end at {position}, data at {len(data)}")
    return container
