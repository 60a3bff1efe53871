"""A length is a claim: wherever a frame claims more than it holds, it is Malformed and has cost nothing; and no frame that keeps its word costs much.

Two bars: nothing is allocated for bytes that have not come; and whatever 1 MiB holds, it decodes within 64 MiB, and in the time that a few small objects
take for each element that the budget allows. How many milliseconds that is depends on the machine: `make bench-decode` tells.
"""

import gc
import re
import time
import tracemalloc

import pytest

from pykbroker.limits import MAX_ARRAY_ELEMENTS_PER_REQUEST
from pykbroker.protocol import messages
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decode_prefix, decoder, encode
from pykbroker.protocol.definitions import FIXED, message_names
from pykbroker.protocol.messages import ApiVersionsRequest, FetchRequest, MetadataRequest
from pykbroker.protocol.wire import Malformed

FLEXIBLE_BOMBS = [
    b"\xff\xff\xff\xff\x0f",  # the largest unsigned varint
    b"\xff\xff\xff\xff\x07",  # the largest that a signed reader takes for positive
]
BOMBS = [
    b"\x7f\xff\xff\xff",  # the largest int32
    b"\x7f\xff",  # the largest int16
]
FILLER = b"\x01" * 20
BUDGET = MAX_ARRAY_ELEMENTS_PER_REQUEST
MEBIBYTE = 1 << 20
MOST_OBJECTS_PER_ELEMENT = 10
"""How much time an element may take: that of so many small objects made in a loop. The dearest one takes 3 to 4."""
MAX_DECODE_BYTES = 64 * MEBIBYTE


@pytest.fixture(autouse=True, scope="module")
def _nothing_else_to_collect():
    """A collection walks only what the test made, as in a broker, not what pytest and its plugins hold."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", message_names())
def test_a_bomb_at_any_place_costs_nothing(name):
    message = getattr(messages, name)
    tracemalloc.start()
    try:
        for version in telling_versions(message):
            whole = encode(filled(message, message.SCHEMA.fields, message, version), version)
            exploded = set()
            decode_prefix(message, version, whole)
            for position in range(len(whole)):
                for bomb in FLEXIBLE_BOMBS if version in message.FLEXIBLE_VERSIONS else BOMBS:
                    exploded.add(explode(message, version, whole[:position] + bomb + FILLER))
            assert lengths(message.SCHEMA.fields, version) <= exploded, f"a length of version {version} was not tried"
    finally:
        tracemalloc.stop()


def telling_versions(message):
    """The first and the last version, and the last that is not flexible; what lies between has no shape of its own."""
    return {
        message.VERSIONS[0],
        message.VERSIONS[-1],
        max(message.VERSIONS[0], min(message.FLEXIBLE_VERSIONS.start - 1, message.VERSIONS[-1])),
    }


def explode(message, version, frame):
    """Decode it, see that it cost little; the field that was found to lie, if one was."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        decode_prefix(message, version, frame, budget=BUDGET)
        liar = None
    except Malformed as error:
        liar = re.match(r"(\S+ \d+|\S+) (?:claims|is longer|is null)", str(error))
    cost = tracemalloc.get_traced_memory()[1] - before
    assert cost < 60_000 + 100 * len(frame), (message, version, frame, cost)
    return liar and liar[1]


def filled(owner, fields, message, version):
    """A message with one element in every array, a tag of each kind, and nothing null: every length there is, is in it."""
    made = owner()
    for one in fields:
        if version in one.versions:
            value = filled(getattr(message, one.type), one.fields, message, version) if one.fields else SMALL.get(one.type, 3)
            setattr(made, one.name, [value] if one.is_array else value)
    if version in message.FLEXIBLE_VERSIONS:
        made.unknown_tags = [(1000, b"ab")]
    return made


SMALL = {"string": "ab", "bytes": b"ab", "records": b"ab", "uuid": b"0123456789abcdef", "bool": True, "float64": 1.5}


def lengths(fields, version):
    """The names of the fields that have a length in front."""
    found = set()
    for one in fields:
        if version in one.versions:
            if one.is_array or not (one.fields or one.type in FIXED):
                found.add(one.name)
            found |= lengths(one.fields, version)
    return found


@pytest.mark.parametrize("message", [api.request for api in API_BY_KEY.values()])
def test_the_dearest_mebibyte_of_each_array(message):
    version = message.VERSIONS[-1]
    for path in arrays(message.SCHEMA.fields, version):
        assert_quick(message, version, as_many_as_possible(message, version, path))
        assert_small(message, version, as_many_as_possible(message, version, path, BUDGET // 20, MEBIBYTE // 20), share=1 / 20)


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0, b"\x01"), (0, b"\x05four"), (1, b"\0" * 13), (7, b""), (1 << 31, b"")],
    ids=["known and null", "known string", "known struct", "unknown", "unknown and long"],
)
def test_the_dearest_mebibyte_of_tags(tag, value):
    request = FetchRequest()
    count = min(BUDGET - 10, MEBIBYTE // (len(value) + 6))

    request.unknown_tags = [(tag, value)] * count
    assert_quick(FetchRequest, 17, encode(request, 17))
    request.unknown_tags = [(tag, value)] * (count // 20)
    assert_small(FetchRequest, 17, encode(request, 17), share=1 / 20)


def test_one_request_has_a_budget():
    at_the_limit = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="t")] * (BUDGET - 1))
    beyond = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="t")] * BUDGET)

    assert len(decode_prefix(MetadataRequest, 8, encode(at_the_limit, 8), budget=BUDGET)[0].topics) == BUDGET - 1
    with pytest.raises(Malformed, match="more elements than one request may have"):
        decode_prefix(MetadataRequest, 8, encode(beyond, 8), budget=BUDGET)


def test_tags_count_as_well():
    request = ApiVersionsRequest()
    request.unknown_tags = [(1, b"")] * (BUDGET + 1)

    with pytest.raises(Malformed, match="more elements than one request may have"):
        decode_prefix(ApiVersionsRequest, 3, encode(request, 3), budget=BUDGET)


def arrays(fields, version, path=()):
    """The way to every array of structs, strings or bytes: the fields on it, outermost first. (Numbers are unpacked in one go: they cost little.)"""
    for one in fields:
        if version in one.versions:
            if one.is_array and one.type not in FIXED:
                yield (*path, one)
            yield from arrays(one.fields, version, (*path, one))


def as_many_as_possible(message, version, path, budget=BUDGET, size=MEBIBYTE):
    """A frame whose innermost array on the path is as long as budget and size allow, of elements that are as short as they can be."""
    *outer, last = path
    request = current = message()
    for one in outer:
        inner = getattr(message, one.type)()
        setattr(current, one.name, [inner] if one.is_array else inner)
        current = inner
    element = getattr(message, last.type)() if last.fields else {"string": "", "bytes": b"", "uuid": bytes(16)}.get(last.type, 0)
    setattr(current, last.name, [element])
    size_of_one = len(encode(request, version))
    setattr(current, last.name, [element] * 2)
    size_of_one = len(encode(request, version)) - size_of_one
    spent_on_each = 1 + sum(one.is_array or one.type == "records" for one in last.fields if version in one.versions)
    setattr(current, last.name, [element] * min((budget - 40) // spent_on_each, (size - 200) // size_of_one))
    return encode(request, version)


class SmallObject:
    """What an element costs at least."""

    __slots__ = ("first", "fourth", "second", "third")

    def __init__(self, first, second, third, fourth):
        self.first, self.second, self.third, self.fourth = first, second, third, fourth


def seconds_for_small_objects():
    """The processor time of as many of them as a request may have elements."""
    start = time.thread_time()
    made = [SmallObject(number, "", None, ()) for number in range(BUDGET)]
    assert len(made) == BUDGET
    return time.thread_time() - start


def assert_quick(message, version, frame):
    """Decode it within the bar: processor time, measured beside that of the same loop each time, so that a slow or a busy machine is no failure."""
    assert len(frame) <= MEBIBYTE
    frame = memoryview(frame)
    decode = decoder(message, version)
    dearness = []
    for _ in range(8):
        start = time.thread_time()
        _, behind = decode(frame, 0, BUDGET)
        dearness.append((time.thread_time() - start) / seconds_for_small_objects())
        assert behind == len(frame)
        if dearness[-1] <= MOST_OBJECTS_PER_ELEMENT:
            return
    pytest.fail(f"each element is as dear as {min(dearness):.1f} small objects")


def assert_small(message, version, frame, share=1):
    """Decode it within `share` of the bar."""
    decode = decoder(message, version)
    tracemalloc.start()
    try:
        decoded = decode(memoryview(frame), 0, BUDGET)
        assert tracemalloc.get_traced_memory()[1] <= MAX_DECODE_BYTES * share
        assert decoded[1] == len(frame)
    finally:
        tracemalloc.stop()
