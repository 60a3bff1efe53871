"""Settings from a file, the environment and overrides: read as Java reads them, and refused with a sentence that helps."""

import pytest

from pykbroker.config import ConfigError, Configuration
from pykbroker.config.properties import Property, config_name, merged_settings, parse_properties
from pykbroker.listeners import listeners_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", [("a", "b", 1)]),
        ("  a  =  b  ", [("a", "b", 1)]),
        ("a:b\nc d", [("a", "b", 1), ("c", "d", 2)]),
        ("a = : b", [("a", ": b", 1)]),
        ("a", [("a", "", 1)]),
        ("# a=b\n! c=d\n\n \t\ne=f", [("e", "f", 5)]),
        ("# a comment does not go on \\\na=b", [("a", "b", 2)]),
        ("a=one,\\\n    two,\\\r\n\tthree\nb=c", [("a", "one,two,three", 1), ("b", "c", 4)]),
        ("a=even\\\\\nb=c", [("a", "even\\", 1), ("b", "c", 2)]),
        ("a=the end\\", [("a", "the end", 1)]),
        ("a\\ b\\=c\\:d=e", [("a b=c:d", "e", 1)]),
        ("a=x\\ty\\nz\\q", [("a", "x\ty\nzq", 1)]),
        ("a=\\u00e4\\ud83d\\ude00", [("a", "ä😀", 1)]),
        ("a=ä😀", [("a", "ä😀", 1)]),
        ("\ufeffa=b\rc=d", [("a", "b", 1), ("c", "d", 2)]),
    ],
)
def test_a_file_is_read_as_java_reads_it(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert parse_properties(text) == [Property(*entry) for entry in expected]


def test_a_damaged_escape_names_its_line() -> None:
    with pytest.raises(ConfigError, match=r"my\.properties line 2 has a \\u that is not followed by four hexadecimal digits"):
        parse_properties("a=b\nc=\\u12x4", "my.properties")


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("KAFKA_LOG_RETENTION_MS", "log.retention.ms"),
        ("KAFKA_LISTENER_NAME_EXTERNAL__IN_SSL_CLIENT_AUTH", "listener.name.external_in.ssl.client.auth"),
        ("KAFKA_LISTENER_NAME_A_SCRAM___SHA___256_SASL_JAAS_CONFIG", "listener.name.a.scram-sha-256.sasl.jaas.config"),
    ],
)
def test_a_variable_names_a_config_as_in_the_official_image(variable: str, name: str) -> None:
    assert config_name(variable) == name


def test_overrides_win_over_variables_and_those_over_the_file() -> None:
    settings = merged_settings(
        text="num.partitions=1\nlog.retention.ms=1\nlog.roll.ms=1",
        environment={"KAFKA_NUM_PARTITIONS": "2", "KAFKA_LOG_RETENTION_MS": "2", "PATH": "/bin"},
        overrides=["num.partitions=3"],
    )

    assert settings.values == {"num.partitions": "3", "log.retention.ms": "2", "log.roll.ms": "1"}
    assert settings.origins == {
        "num.partitions": "an --override",
        "log.retention.ms": "the variable KAFKA_LOG_RETENTION_MS",
        "log.roll.ms": "server.properties line 3",
    }
    assert not settings.warnings


def test_a_variable_that_is_no_config_is_one_warning_and_those_of_a_jvm_none() -> None:
    settings = merged_settings(environment={"KAFKA_NUM_PARTITION": "2", "KAFKA_HEAP_OPTS": "-Xmx1g", "KAFKA_PORT": "tcp://10.0.0.1:9092"})

    assert settings.values == {}
    assert settings.warnings == [
        "The variable KAFKA_NUM_PARTITION is ignored: num.partition is not a config of the broker; did you mean num.partitions?",
        "The variable KAFKA_PORT is ignored: port left Kafka with 4.0; delete it.",
    ]


@pytest.mark.parametrize("override", ["num.partitions", "=3", ""])
def test_an_override_without_a_value_says_how_to_write_one(override: str) -> None:
    with pytest.raises(ConfigError, match="write --override KEY=VALUE"):
        merged_settings(overrides=[override])


KRAFT_FILE = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
"""
"""The settings that the server.properties of a Kafka download has."""


def test_a_file_written_for_kafka_is_served_as_it_is() -> None:
    settings = merged_settings(text=KRAFT_FILE)
    configuration = Configuration(settings.values, origins=settings.origins)

    (listener,) = listeners_of(configuration)

    assert (listener.name, listener.host, listener.port) == ("PLAINTEXT", "", 9092)
    assert (listener.advertised_host, listener.advertised_port) == ("localhost", 9092)
    assert configuration.broker("log.dirs") == ["/tmp/kraft-combined-logs"]
    assert configuration.integer("num.partitions") == 1


def test_listeners_may_be_many_on_ipv6_and_on_free_ports() -> None:
    listeners = listeners_of(
        Configuration(
            {
                "listeners": "inside://127.0.0.1:0,OUTSIDE://[::1]:9094",
                "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:plaintext",
                "advertised.listeners": "OUTSIDE://kafka.example.org:443",
            }
        )
    )

    assert [(each.name, each.host, each.port) for each in listeners] == [("INSIDE", "127.0.0.1", 0), ("OUTSIDE", "::1", 9094)]
    assert [(each.advertised_host, each.advertised_port) for each in listeners] == [(None, None), ("kafka.example.org", 443)]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"listeners": "localhost:9092"}, "is not an address; write NAME://HOST:PORT"),
        ({"listeners": "PLAINTEXT://:99999"}, "is not an address"),
        ({"listeners": "PLAINTEXT://:1,PLAINTEXT://:2"}, "has PLAINTEXT twice"),
        ({"listeners": "PLAINTEXT://:1,SSL://:1"}, "has port 1 twice"),
        ({"listeners": "SSL://:9093"}, "only PLAINTEXT is served yet"),
        ({"listeners": "FOO://:9092"}, "listener.security.protocol.map has not; add FOO:PLAINTEXT"),
        ({"listeners": "CONTROLLER://:9093"}, "has no address for clients"),
        ({"listeners": "PLAINTEXT://:1", "advertised.listeners": "OTHER://a:1"}, "advertise only what is opened"),
        ({"listeners": "PLAINTEXT://:1", "advertised.listeners": "PLAINTEXT://0.0.0.0:1"}, "tells clients no address"),
        ({"listeners": "PLAINTEXT://:1", "inter.broker.listener.name": "X"}, "is none of the listeners; write one of PLAINTEXT"),
        ({"listener.security.protocol.map": "PLAINTEXT:TLS"}, "is not possible; write NAME:PROTOCOL"),
    ],
)
def test_listeners_that_cannot_be_opened_say_why(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        listeners_of(Configuration(settings))
