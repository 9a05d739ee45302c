"""``.npy`` bytes: one form per array when written, and no trust when read."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from schemas.errors import IntegrityError

HEADER_LIMIT = 4096
"""Longest header that is read; ours have 64 to 128 bytes."""
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
    head = io.BytesIO()
    npy_format.write_array_header_1_0(head, npy_format.header_data_from_array_1_0(little))
    return head.getvalue(), little.reshape(-1).view(np.uint8).data


def header_of(content: bytes | memoryview) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """(shape, dtype, bytes of the header) of the beginning of an ``.npy``.

    Raises:
        IntegrityError: not a header that this software writes.
    """
    stream = io.BytesIO(bytes(content[: HEADER_LIMIT + 16]))
    try:
        version = npy_format.read_magic(stream)
        if version != (1, 0):
            raise IntegrityError(f".npy version {version}, wanted (1, 0)")
        shape, fortran, dtype = npy_format.read_array_header_1_0(stream, max_header_size=HEADER_LIMIT)
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise IntegrityError(f"no readable .npy header: {str(error)[:80]}") from error
    if fortran or dtype.hasobject or dtype.kind not in KINDS:
        raise IntegrityError(f".npy of dtype {dtype}, {'Fortran' if fortran else 'C'} order: not accepted")
    if any(size < 0 for size in shape):
        raise IntegrityError(f".npy of shape {shape}")
    return shape, dtype, stream.tell()


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
