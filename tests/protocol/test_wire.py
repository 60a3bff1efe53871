"""Variable-length integers: every value there and back, nothing longer than its type believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.protocol.wire import Malformed, read_unsigned_varint, read_varint, read_varlong, unsigned_varint, varlong


@given(st.integers(0, 2**32 - 1), st.binary(max_size=3))
def test_unsigned_varints_come_back(value, before):
    encoded = unsigned_varint(value)

    assert len(encoded) == max(1, (value.bit_length() + 6) // 7)
    assert read_unsigned_varint(before + encoded + b"\xff", len(before)) == (value, len(before) + len(encoded))


@given(st.integers(-(2**63), 2**63 - 1))
def test_varlongs_come_back(value):
    assert read_varlong(varlong(value), 0) == (value, len(varlong(value)))


@given(st.integers(-(2**31), 2**31 - 1))
def test_varints_come_back(value):
    assert read_varint(varlong(value), 0) == (value, len(varlong(value)))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (-64, "7f"), (64, "8001"), (2**31 - 1, "feffffff0f"), (-(2**31), "ffffffff0f")],
)
def test_signed_ones_are_zigzag(value, encoded):
    assert varlong(value).hex() == encoded


def test_a_longer_spelling_than_needed_is_read():
    assert read_unsigned_varint(b"\x80\x80\x00", 0) == (0, 3)
    assert read_varint(b"\x82\x00", 0) == (1, 2)


@pytest.mark.parametrize(
    ("read", "encoded"),
    [
        (read_unsigned_varint, b"\xff\xff\xff\xff\x1f"),
        (read_unsigned_varint, b"\x80\x80\x80\x80\x80\x00"),
        (read_varint, b"\x80\x80\x80\x80\x80\x00"),
        (read_varint, b"\xff\xff\xff\xff\x1f"),
        (read_varlong, b"\x80" * 10 + b"\x00"),
        (read_varlong, b"\xff" * 9 + b"\x02"),
    ],
)
def test_longer_than_its_type_is_malformed(read, encoded):
    with pytest.raises(Malformed):
        read(encoded, 0)


@pytest.mark.parametrize("read", [read_unsigned_varint, read_varint, read_varlong])
def test_cut_off_is_the_callers_end_of_buffer(read):
    with pytest.raises(IndexError):
        read(b"\xff\xff", 0)
