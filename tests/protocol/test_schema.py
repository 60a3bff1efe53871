"""The schema files hold all of Kafka's messages; stubs, error codes and the command line say the same as they do."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pykbroker.protocol import messages
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.definitions import definition, message_names
from pykbroker.protocol.errors import ErrorCode, KafkaError

ROOT = Path(__file__).parent.parent.parent


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stubs_are_fresh():
    make_stubs = script("make_stubs")

    assert make_stubs.STUBS.read_text(encoding="utf-8") == make_stubs.stubs(), "run `make stubs`"


def test_every_api_has_its_request_and_response():
    assert len(API_BY_KEY) == 89
    for key, api in API_BY_KEY.items():
        assert api.request.API_KEY == api.response.API_KEY == key == api.key
        assert api.request.__name__ == api.name + "Request"
        assert api.response.__name__ == api.name + "Response"
        assert api.request.VERSIONS == api.response.VERSIONS
        assert api.request.FLEXIBLE_VERSIONS == api.response.FLEXIBLE_VERSIONS


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("OffsetCommitKey", 1),
        ("GroupMetadataValue", 2),
        ("ConsumerGroupTargetAssignmentMemberValue", 7),
        ("TransactionLogValue", 0),
        ("ShareSnapshotValue", 0),
        ("TopicRecord", 2),
        ("PartitionRecord", 3),
        ("ConfigRecord", 4),
        ("FeatureLevelRecord", 12),
        ("ProducerIdsRecord", 15),
        ("RemoveTopicRecord", 9),
        ("BrokerRegistrationChangeRecord", 17),
        ("ConsumerProtocolSubscription", -1),
        ("ConsumerProtocolAssignment", -1),
        ("LeaderChangeMessage", -1),
        ("EndTxnMarker", -1),
        ("SnapshotHeaderRecord", -1),
        ("KRaftVersionRecord", -1),
        ("ProducerSnapshot", -1),
        ("RequestHeader", -1),
    ],
)
def test_what_stands_inside_logs_is_there(name, key):
    assert key == getattr(messages, name).API_KEY


def test_structs_of_one_name_within_a_message_are_one():
    for name in message_names():
        seen = {}
        for one in all_fields(definition(name).fields):
            if one.fields:
                shape = repr(one.fields)
                assert seen.setdefault(one.type, shape) == shape, (name, one.type)


def all_fields(fields):
    for one in fields:
        yield one
        yield from all_fields(one.fields)


def test_an_unknown_message_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no message 'NoSuchRequest'"):
        _ = messages.NoSuchRequest
    with pytest.raises(ImportError):
        from pykbroker.protocol.messages import NoSuchRecord  # noqa: F401


def run(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_generated_source_is_printed():
    printed = run("-m", "pykbroker.protocol", "FetchRequest", "13")

    assert printed.returncode == 0
    assert "def decode(" in printed.stdout
    assert "def encode(" in printed.stdout
    assert "o.max_wait_ms" in printed.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((), "usage:"), (("Nothing", "1"), "usage:"), (("FetchRequest", "x"), "usage:"), (("FetchRequest", "3"), "has the versions 4 to 18")],
)
def test_what_cannot_be_printed_is_explained(arguments, sentence):
    printed = run("-m", "pykbroker.protocol", *arguments)

    assert printed.returncode == 2
    assert sentence in printed.stderr
    assert not printed.stdout


def test_importing_compiles_nothing():
    imported = run(
        "-c",
        "import linecache, pykbroker.protocol.header, pykbroker.protocol.apis; from pykbroker.protocol import definitions;"
        "print(definitions.definitions_in.cache_info().misses, [name for name in linecache.cache if name[0] == '<'])",
    )

    assert imported.stdout == "0 []\n", imported.stderr


def test_error_codes_have_no_gap():
    assert sorted(ErrorCode) == list(range(-1, 134))
    assert [code.name for code in ErrorCode if code.retriable and code < 10] == [
        "CORRUPT_MESSAGE",
        "UNKNOWN_TOPIC_OR_PARTITION",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_OR_FOLLOWER",
        "REQUEST_TIMED_OUT",
        "REPLICA_NOT_AVAILABLE",
    ]


def test_an_error_without_a_message_speaks_for_itself():
    assert str(KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)) == "Unknown topic id."
    assert KafkaError(ErrorCode.INVALID_CONFIG, "because").message == "because"


def test_schemas_are_made_from_definitions(tmp_path, monkeypatch):
    convert = script("convert_schemas")
    shown = {
        "apiKey": 99,
        "type": "request",
        "name": "MakeTeaRequest",
        "validVersions": "1-3",
        "flexibleVersions": "2+",
        "latestVersionUnstable": True,
        "fields": [
            {"name": "CupIds", "type": "[]int32", "versions": "0+", "nullableVersions": "2+", "default": "null"},
            {"name": "Milk", "type": "string", "versions": "2+", "tag": 0, "taggedVersions": "2+", "default": "", "ignorable": True},
            {
                "name": "Pots",
                "type": "[]Pot",
                "versions": "1+",
                "fields": [{"name": "Size", "type": "int8", "versions": "0+", "default": 5}],
            },
        ],
    }
    with zipfile.ZipFile(tmp_path / "kafka-clients-9.9.9.jar", "w") as jar:
        jar.writestr("common/message/MakeTeaRequest.json", "// a licence\n/* and\n more */" + json.dumps(shown))
    monkeypatch.setattr(convert, "SCHEMA", tmp_path)

    convert.main(tmp_path)

    assert (tmp_path / "99_make_tea.kmsg").read_text() == (
        "MakeTeaRequest request 99 1-3 flexible 2+ unstable\n"
        "  cup_ids []int32 null:2+ =null\n"
        '  milk string 2+ tag0:2+ ="" ignorable\n'
        "  pots []Pot 1+\n"
        "    size int8 =5\n"
    )
