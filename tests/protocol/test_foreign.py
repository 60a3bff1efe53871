"""kio, a codec by other people made from the same definitions, reads our bytes as the same message and writes the same bytes, for every version of every API."""

import io
import random

import kio.index
import pytest
from kio.serial import entity_reader, entity_writer

from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decode, encode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.samples import sample

SAMPLES_PER_VERSION = 8

MESSAGES = [
    (message, version, load)
    for api in API_BY_KEY.values()
    for message, load in ((api.request, kio.index.load_request_schema), (api.response, kio.index.load_response_schema))
    for version in message.VERSIONS
]


@pytest.mark.parametrize("key", list(API_BY_KEY))
def test_kio_reads_and_writes_the_same(key):
    compared = 0
    for message, version, load in MESSAGES:
        if key != message.API_KEY:
            continue
        foreign_class = load(key, version)
        read, write = entity_reader(foreign_class), entity_writer(foreign_class)
        for _ in range(SAMPLES_PER_VERSION):
            sent = as_kio_can_hold(sample(random, message, version))
            encoded = encode(sent, version)

            foreign, size = read(encoded, 0)
            written = io.BytesIO()
            write(written, foreign)

            assert size == len(encoded)
            assert written.getvalue() == encoded, (message, version, sent)
            assert decode(message, version, written.getvalue()) == sent
            compared += same_content(sent, foreign, version)
    assert compared > 0 or key in FIELDLESS


FIELDLESS = {16, 17, 50}


def as_kio_can_hold(struct):
    """kio refuses tags that it does not know, and turns error codes into an enumeration and times into dates."""
    struct.unknown_tags = None
    for one in struct._fields:
        value = getattr(struct, one.name)
        if one.fields:
            for inner in value if isinstance(value, list) else [value] if value is not None else []:
                as_kio_can_hold(inner)
        elif one.name.endswith("error_code") and value != one.default:
            setattr(struct, one.name, ErrorCode(value % len(ErrorCode) - 1))
        elif isinstance(value, int) and value != one.default and (one.name.endswith("_ms") or "timestamp" in one.name):
            setattr(struct, one.name, value % (1 << 31))
    return struct


def same_content(ours, theirs, version):
    """How many plain values were compared; each the same under the same name."""
    count = 0
    for one in ours._fields:
        if version not in one.versions:
            continue
        value, foreign = getattr(ours, one.name), getattr(theirs, one.name.removesuffix("_ms"), None)
        if one.fields and value is not None:
            pairs = zip(value, foreign, strict=True) if one.is_array else [(value, foreign)]
            count += sum(same_content(inner, foreign_inner, version) for inner, foreign_inner in pairs)
        elif isinstance(foreign, (str, int, bytes)):
            assert value == foreign, one.name
            count += 1
    return count
