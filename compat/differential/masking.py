"""What of an answer can be compared: everything but ids, times, addresses and sentences, which each broker makes for itself.

An id becomes "the n-th id of its kind in this sequence", so that a broker that confuses two of them is still found. Of a sentence for people, and of an address,
it is kept whether there is one, an empty string or null. The arrays that Kafka keeps in hash maps are put in order, no others. Names of other sequences are left
out of lists of everything.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from compat.differential.steps import PREFIX
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.errors import KafkaError
from pykbroker.protocol.messages import Message, Struct
from pykbroker.protocol.records import NO_TIMESTAMP, RecordBatch, TimestampType, batches
from pykbroker.protocol.wire import Malformed

Plain = dict[str, object] | list[object] | str | int | float | bool | None

_NOW_FROM, _NOW_TO = 1_780_000_000_000, 4_000_000_000_000
_UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OWN_WORDS = {"error_message", "batch_index_error_message", "documentation", "host", "cluster_id"}
_COUNTED = {"producer_id": "producer", "session_id": "session"}
_COUNTED_FROM = {"producer_id": 0, "session_id": 1}
_LISTS_OF_EVERYTHING = {"ListGroups": "groups", "ListConfigResources": "config_resources"}
_SHUFFLED = {
    "CreatePartitionsResponse.results",
    "DeleteGroupsResponse.results",
    "DeleteRecordsResponse.topics",
    "DeleteRecordsTopicResult.partitions",
    "DeleteTopicsResponse.responses",
    "DescribeGroupsResponse.groups",
    "DescribedGroup.members",
    "JoinGroupResponse.members",
    "ListConfigResourcesResponse.config_resources",
    "ListGroupsResponse.groups",
    "ListOffsetsResponse.topics",
    "ListOffsetsTopicResponse.partitions",
    "MetadataResponse.topics",
    "OffsetFetchResponse.topics",
    "OffsetFetchResponseGroup.topics",
    "OffsetFetchResponseTopic.partitions",
    "OffsetFetchResponseTopics.partitions",
    "ProduceResponse.responses",
    "TopicProduceResponse.partition_responses",
}
"""Arrays of structs whose order is that of a hash map in Kafka, always or for some requests."""

_OWN_CONFIGS = re.compile(
    r"(advertised\.|controller\.)?listeners?|listener\..*|log\.dirs?|controller\..*|metadata\.log\.dir|process\.roles|broker\.id|node\.id|socket\.listen\.backlog\.size"
)
"""Where a broker is and what it is called: told by what started it; and the one default that is ours whatever it is told."""


@dataclass(frozen=True, slots=True)
class _Id:
    """An id that has no number yet."""

    kind: str
    value: object


class Mask:
    """For one broker and one sequence: which ids were seen so far."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._seen: dict[tuple[str, object], str] = {}
        self._counts: dict[str, int] = {}

    def masked(self, request: Message, version: int, answer: Message) -> Plain:
        """The answer as it is compared: only fields that the version has."""
        api = API_BY_KEY[request.API_KEY].name
        plain = self._plain(answer, version)
        everything = _LISTS_OF_EVERYTHING.get(api)
        if api in {"Metadata", "DescribeTopicPartitions"} and not getattr(request, "topics", None):
            everything = "topics"
        listed = plain.get(everything or "")
        if everything is not None and isinstance(listed, list):
            plain[everything] = [one for one in listed if PREFIX in json.dumps(one, default=str)]
        numbered = self._numbered(plain)
        assert isinstance(numbered, dict)
        return numbered

    def _numbered(self, value: object) -> object:
        """Ids become numbers once everything is in its order, so that the order in which a broker happened to write does not count."""
        match value:
            case dict():
                return {name: self._numbered(one) for name, one in value.items()}
            case list():
                return [self._numbered(one) for one in value]
            case str():
                return _UUID_TEXT.sub(lambda one: self._nth("uuid", one[0]), value)
            case _Id():
                return self._nth(value.kind, value.value)
        return value

    def _plain(self, value: Struct, version: int) -> dict[str, object]:
        made: dict[str, object] = {}
        for one in value._fields:
            if version not in one.versions:
                continue
            found = getattr(value, one.name)
            if one.name in _OWN_WORDS:
                made[one.name] = f"some {one.name}" if found else found
            elif one.name == "port" and isinstance(found, int) and found > 0:
                made[one.name] = "a port"
            elif one.name in _COUNTED and isinstance(found, int) and found >= _COUNTED_FROM[one.name]:
                made[one.name] = _Id(_COUNTED[one.name], found)
            elif one.type == "records":
                made[one.name] = None if found is None else self._records(bytes(found))
            else:
                made[one.name] = self._value(found, version, is_id=one.type == "uuid")
            if isinstance(found, list) and f"{type(value).__name__}.{one.name}" in _SHUFFLED:
                made[one.name] = sorted(made[one.name], key=self._place)  # type: ignore[call-overload]
        if value.unknown_tags:
            made["unknown_tags"] = [[tag, bytes(data).hex()] for tag, data in value.unknown_tags]
        if type(value).__name__ == "DescribeConfigsResult" and isinstance(made["configs"], list):
            made["configs"] = [one for one in made["configs"] if not _OWN_CONFIGS.fullmatch(one["name"])]
        return made

    def _value(self, found: object, version: int, *, is_id: bool) -> object:
        match found:
            case Struct():
                return self._plain(found, version)
            case list():
                return [self._value(one, version, is_id=is_id) for one in found]
            case bytes() | memoryview():
                data = bytes(found)
                return _Id("id", data) if is_id and any(data) else data.hex()
            case str():
                return found.replace(self._prefix, PREFIX)
            case int() if _NOW_FROM < found < _NOW_TO:
                return "now"
        return found

    def _place(self, value: object) -> str:
        """What decides where a struct stands in its array: everything but ids that are seen for the first time."""
        text = json.dumps(value, sort_keys=True, default=lambda one: self._seen.get((one.kind, one.value), ""))
        return _UUID_TEXT.sub(lambda one: self._seen.get(("uuid", one[0]), ""), text)

    def _nth(self, kind: str, value: object) -> str:
        if (kind, value) not in self._seen:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._seen[kind, value] = f"<{kind} {self._counts[kind]}>"
        return self._seen[kind, value]

    def _records(self, data: bytes) -> list[object]:
        """Batch by batch; what is cut off at the end as its size."""
        found: list[object] = []
        end = 0
        try:
            for batch in batches(data):
                found.append(self._batch(batch))
                end += batch.size_in_bytes
        except (KafkaError, Malformed) as error:
            found.append(type(error).__name__)
        if end < len(data):
            found.append(f"{len(data) - end} bytes of a batch")
        return found

    def _batch(self, batch: RecordBatch) -> dict[str, object]:
        changes_with_broker = batch.timestamp_type == TimestampType.LOG_APPEND_TIME or batch.has_producer_id or batch.compression
        return {
            "base_offset": batch.base_offset,
            "last_offset": batch.last_offset,
            "leader_epoch": batch.partition_leader_epoch,
            "attributes": batch.attributes,
            "max_timestamp": self._value(batch.max_timestamp, 0, is_id=False),
            "producer": _Id("producer", batch.producer_id) if batch.has_producer_id else NO_TIMESTAMP,
            "producer_epoch": batch.producer_epoch,
            "base_sequence": batch.base_sequence,
            "crc": None if changes_with_broker else batch.crc,
            "records": [
                [
                    one.offset,
                    self._value(one.timestamp, 0, is_id=False),
                    _hex(one.key),
                    _hex(one.value),
                    [[name, _hex(data)] for name, data in one.headers],
                ]
                for one in batch.records()
            ],
        }


def differing(one: object, other: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Where two masked answers part: the path, and what either has there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differing(one.get(key, "(not there)"), other.get(key, "(not there)"), f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (here, there) in enumerate(zip(one, other, strict=True)):
            yield from differing(here, there, f"{path}[{index}]")
    elif one != other or type(one) is not type(other):
        yield path, one, other


def error_codes(plain: object) -> set[int]:
    """Every error code in a masked answer."""
    if isinstance(plain, dict):
        own = {plain["error_code"]} if isinstance(plain.get("error_code"), int) else set()
        return own.union(*map(error_codes, plain.values()))
    return set().union(*map(error_codes, plain)) if isinstance(plain, list) else set()


def _hex(data: bytes | None) -> str | None:
    return None if data is None else bytes(data).hex()
