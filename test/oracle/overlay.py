"""FORMAT.md sections 1 and 2: one word and one tensor, slowly but with tables of 65,536 entries.

Rounding to binary16 is left to struct's 'e' format (RNE), so that nothing here shares a formula with the tool.
"""

import math
import struct
import sys
from array import array
from dataclasses import dataclass
from functools import cache

assert sys.byteorder == "little", "the oracle reads little-endian files through array()"

LIMIT = 1.875
LIMIT_MAG = 0x3F80
MAX_SHIFT = 15
WORDS = 65536
WORD_CODE = {"F16": "H", "BF16": "H", "F32": "I"}


def decompose(word):
    """Section 1, line by line."""
    mag, sign = word & 0x7FFF, word >> 15
    u0, rest = mag >> 7, mag & 0x7F
    round_up = u0 != 0x7E and (rest > 64 or (rest == 64 and u0 % 2 == 1))
    return sign << 7 | (u0 + 1 if round_up else u0), word & 0xFF


def reconstruct(upper, lower):
    sub = (upper & 1) ^ (lower >> 7)
    return ((upper & 0x80) | ((upper - sub) >> 1) & 0x3F) << 8 | lower


@cache
def upper_table():
    """Half word -> upper byte; 0 where the word is not eligible (never looked up for those)."""
    return bytes(decompose(w)[0] if w & 0x7FFF < LIMIT_MAG else 0 for w in range(WORDS))


@cache
def pair_table():
    """upper << 8 | lower -> half word, or 0xFFFF (a NaN, never a plane's word) where the pair is not canonical."""
    words = array("H", [0xFFFF]) * WORDS
    for w in range(WORDS):
        if w & 0x7FFF < LIMIT_MAG:
            upper, lower = decompose(w)
            words[upper << 8 | lower] = reconstruct(upper, lower)
    return words


@cache
def word_values(dtype):
    """The number each 16-bit word of F16 or BF16 stands for."""
    if dtype == "F16":
        return struct.unpack("<65536e", array("H", range(WORDS)).tobytes())
    return struct.unpack("<65536f", array("I", [w << 16 for w in range(WORDS)]).tobytes())


def to_half(values):
    """Words of binary16, round to nearest even; struct refuses what rounds to infinity, so that is named first."""
    safe = [v if abs(v) < 65520 or v != v else math.copysign(math.inf, v) for v in values]
    return array("H", struct.pack(f"<{len(safe)}e", *safe))


def classify(values, halves, shift):
    """0 exact, 1 rounded, 2 a non-zero value flushed to zero; one byte per value."""
    back, scale = word_values("F16"), 2.0**shift
    return bytes(
        0 if back[h] * scale == v else 2 if h & 0x7FFF == 0 else 1 for v, h in zip(values, halves)
    )


@cache
def half_table(dtype, shift):
    """Source word -> half(value * 2^-shift), in one rounding."""
    return to_half([v * 2.0**-shift for v in word_values(dtype)])


@cache
def loss_table(dtype, shift):
    return classify(word_values(dtype), half_table(dtype, shift), shift)


@cache
def source_table(dtype, shift):
    """Half word -> the source word of value * 2^shift; words that need a patch get whatever comes out."""
    finite = [v if abs(v) < 2 else 0.0 for v in word_values("F16")]
    scaled = [v * 2.0**shift for v in finite]
    if dtype == "F16":
        return to_half(scaled)
    singles = struct.unpack(f"<{WORDS}I", struct.pack(f"<{WORDS}f", *scaled))
    return array("H", [bits >> 16 for bits in singles]) if dtype == "BF16" else array("I", singles)


@cache
def shift_of(largest):
    """The smallest s >= 0 with half(largest * 2^-s) < 1.875 (section 2)."""
    shift = 0
    while word_values("F16")[to_half([largest * 2.0**-shift])[0]] >= LIMIT:
        shift += 1
    return shift


@dataclass
class Encoded:
    """What a split tensor must look like."""

    shifts: list
    upper: bytes
    lower: bytes
    patch_index: list
    patch_value: list
    underflow: int

    @property
    def inexact(self):
        return len(self.patch_index)


def magnitudes(dtype, raw):
    """The words without their sign bit: as integers they are ordered like the absolute values."""
    size = 4 if dtype == "F32" else 2
    data = bytearray(raw)
    data[size - 1 :: size] = data[size - 1 :: size].translate(bytes(b & 0x7F for b in range(256)))
    return array(WORD_CODE[dtype], bytes(data))


def value_of(dtype, word):
    return struct.unpack("<f", struct.pack("<I", word))[0] if dtype == "F32" else word_values(dtype)[word]


def max_abs(dtype, raw):
    """Largest absolute value; NaN or Inf when the tensor holds one (their words are the largest integers)."""
    return value_of(dtype, max(magnitudes(dtype, raw), default=0))


def row_shifts(dtype, raw, rows, cols):
    mags = magnitudes(dtype, raw)
    return [shift_of(value_of(dtype, max(mags[r * cols : (r + 1) * cols]))) for r in range(rows)]


def encode_row(dtype, words, shift):
    """-> (half words, loss classes) of one row."""
    if dtype == "F32":
        values = struct.unpack(f"<{len(words)}f", words.tobytes())
        halves = to_half([v * 2.0**-shift for v in values])
        return halves, classify(values, halves, shift)
    halves = array("H", map(half_table(dtype, shift).__getitem__, words))
    return halves, bytes(map(loss_table(dtype, shift).__getitem__, words))


def encode(dtype, raw, rows, cols, shifts):
    """The planes of a tensor for given row shifts."""
    words = array(WORD_CODE[dtype], bytes(raw))
    result = Encoded(shifts, b"", b"", [], [], 0)
    upper, lower = bytearray(), bytearray()
    for r in range(rows):
        row = words[r * cols : (r + 1) * cols]
        halves, loss = encode_row(dtype, row, shifts[r])
        upper += bytes(map(upper_table().__getitem__, halves))
        lower += halves.tobytes()[::2]
        if any(loss):
            lossy = [k for k in range(cols) if loss[k]]
            result.patch_index += [r * cols + k for k in lossy]
            result.patch_value += [row[k] for k in lossy]
            result.underflow += loss.count(2)
    result.upper, result.lower = bytes(upper), bytes(lower)
    return result


def canonical_words(upper, lower):
    """The half words of two planes, and the positions whose pair is not canonical."""
    both = bytearray(2 * len(upper))
    both[0::2], both[1::2] = lower, upper
    words = array("H", map(pair_table().__getitem__, array("H", bytes(both))))
    bad = [i for i, w in enumerate(words) if w == 0xFFFF] if 0xFFFF in words else []
    return words, bad


def decode(dtype, halves, cols, shifts, patches):
    """Source bytes from the planes' half words, the row shifts and the patch list."""
    out = array(WORD_CODE[dtype])
    for r, shift in enumerate(shifts):
        out.extend(map(source_table(dtype, shift).__getitem__, halves[r * cols : (r + 1) * cols]))
    for index, value in patches:
        out[index] = value
    return out.tobytes()
