"""Arrow arrays and scalars of Python values, made from buffers.

``pa.array`` and ``pa.scalar``, and expressions with Python values in them, make Arrow import pandas where that is
installed, only to look whether a value is of it: 45 MiB and 0.2 seconds.
"""

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

import pyarrow as pa


def text_array(values: Sequence[bytes]) -> pa.StringArray:
    """Make an array of UTF-8."""
    offsets = array("i", accumulate(map(len, values), initial=0))
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(values)))


def integers(values: Iterable[int]) -> pa.Int64Array:
    """Make an array of integers of 64 bits."""
    numbers = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def text(value: str) -> pa.StringScalar:
    """Make a scalar of a text."""
    return text_array([value.encode()])[0]


def null(kind: pa.DataType) -> pa.Scalar:
    """Make a scalar of no value."""
    return pa.nulls(1, kind)[0]


def number(value: float) -> pa.DoubleScalar:
    """Make a scalar of a float."""
    return pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(array("d", [value]))])[0]
