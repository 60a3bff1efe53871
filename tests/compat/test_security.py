"""A client's settings become a way to log in; SCRAM keeps to RFC 7677's own example, and to what KIP-84 allows."""

import base64
import json
from pathlib import Path

import pytest

from pykbroker.compat.expectations import Unexpected
from pykbroker.compat.security import (
    Login,
    ScramClient,
    SettingsError,
    bearer_message,
    plain_message,
    read_command_config,
    security_of,
)

JAAS = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="with \\" and =" tokenauth="true";'


def test_a_file_of_settings_is_read_as_kafka_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text(f"# a comment\nsecurity.protocol = sasl_plaintext\nsasl.mechanism: SCRAM-SHA-512\nsasl.jaas.config=\\\n    {JAAS}\n")

    security = read_command_config(str(file))

    assert security.tls is None
    assert security.login == Login("SCRAM-SHA-512", "alice", 'with " and =', by_token=True)
    assert "with" not in repr(security)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"security.protocol": "TELEPATHY"}, "security.protocol"),
        ({"security.protocol": "SASL_SSL"}, "sasl.mechanism is GSSAPI"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}, "needs a user"),
        ({"security.protocol": "SSL", "ssl.truststore.location": "trust.jks"}, "ssl.truststore.type"),
        ({"security.protocol": "SSL", "ssl.truststore.location": "not-there.pem", "ssl.truststore.type": "PEM"}, "cannot be used"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        security_of(settings)


def test_scram_is_that_of_rfc_7677() -> None:
    client = ScramClient(Login("SCRAM-SHA-256", "user", "pencil"), nonce="rOprNGfwEbeRWgbNEkqO")

    assert client.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    server_first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    proof = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert client.last(server_first) == proof
    assert client.knows(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert not client.knows(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"r=mine,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"r=mine-and-theirs,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
        b"r=mine-and-theirs,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=16385",
        b"e=other-error",
        b"",
    ],
)
def test_a_challenge_that_proves_nothing_is_refused(challenge: bytes) -> None:
    with pytest.raises(Unexpected):
        ScramClient(Login("SCRAM-SHA-256", "user", "pencil"), nonce="mine").last(challenge)


def test_a_server_that_does_not_know_the_password_is_not_believed() -> None:
    def ask(message: bytes) -> bytes:
        if message.startswith(b"n,,"):
            return message.partition(b"r=")[2].join((b"r=", b"more,s=c2FsdA==,i=4096"))
        return b"v=" + base64.b64encode(bytes(64))

    with pytest.raises(Unexpected, match="proves"):
        Login("SCRAM-SHA-512", "a,=b", "pencil").converse(ask)


def test_the_messages_of_plain_and_of_oauthbearer() -> None:
    assert plain_message("alice", "secret") == b"\0alice\0secret"
    assert plain_message("alice", "secret", acting_for="bob") == b"bob\0alice\0secret"
    header, _, token = bearer_message("alice").rstrip(b"\1").partition(b"Bearer ")
    parts = [json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))) for part in token.split(b".")[:2]]
    assert header == b"n,,\1auth="
    assert parts[0] == {"alg": "none"}
    assert parts[1]["sub"] == "alice"
    assert parts[1]["exp"] > parts[1]["iat"]
