"""``.npy`` bytes: one form per array when written, and no trust when read."""

from __future__ import annotations

import io
import math
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from schemas.errors import IntegrityError

HEADER_LIMIT = 4096
"""Longest header that is read; ours have 64 to 128 bytes."""
_MAGIC, _PREFIX = b"\x93NUMPY\x01\x00", 10
_HEADER = re.compile(
    rb"\{'descr': '([<>|][uifb][0-9]{1,2})', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,19}, ?)*(?:[0-9]{1,19})?)\), ?\} *\n"
)
KINDS = "uifb"
"""Kinds of dtype a dataset may hold; objects (pickles) are not among them."""


def encode_npy(array: NDArray[Any]) -> tuple[bytes, memoryview]:
    """Header and payload of an array as ``.npy``, version 1.0, C order, little endian.

    Raises:
        ValueError: a dtype that a dataset may not hold.
    """
    if array.dtype.kind not in KINDS:
        raise ValueError(f"dtype {array.dtype} has no place in a dataset")
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    return _head(little.dtype, little.shape), little.reshape(-1).view(np.uint8).data


@lru_cache(maxsize=256)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()
    described = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(head, described)
    return head.getvalue()


def header_of(content: bytes | memoryview) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """(shape, dtype, bytes of the header) of the beginning of an ``.npy``.

    Read by a pattern and not as a Python literal, which is what NumPy does: damaged text then has one way to fail.

    Raises:
        IntegrityError: not a header of plain numbers, in rows, as NumPy writes it.
    """
    start = bytes(content[:_PREFIX])
    if start[:8] != _MAGIC:
        raise IntegrityError(f"no .npy of version 1.0: begins with {start[:8]!r}")
    length = int.from_bytes(start[8:], "little")
    if len(start) < _PREFIX or length > HEADER_LIMIT:
        raise IntegrityError(f"no readable .npy header: {length} bytes")
    text = bytes(content[_PREFIX : _PREFIX + length])
    found = _HEADER.fullmatch(text) if len(text) == length else None
    if found is None:
        raise IntegrityError(f"no .npy header of numbers in C order: {text[:60]!r}: not accepted")
    try:
        dtype = np.dtype(found[1].decode("ascii"))
    except TypeError as error:
        raise IntegrityError(f".npy of dtype {found[1]!r}: not accepted") from error
    return tuple(int(size) for size in found[2].split(b",") if size.strip()), dtype, _PREFIX + length


def decode_npy(content: bytes | memoryview) -> NDArray[Any]:
    """The array in ``.npy`` bytes, read-only, without a copy and without unpickling.

    Raises:
        IntegrityError: not an ``.npy`` of exactly this many bytes.
    """
    shape, dtype, start = header_of(content)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != len(content) - start:
        raise IntegrityError(f".npy says {shape} {dtype}: {wanted} bytes, but {len(content) - start} follow")
    array: NDArray[Any] = np.frombuffer(content, dtype=dtype, offset=start).reshape(shape)
    array.flags.writeable = False
    return array
