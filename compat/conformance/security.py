"""How a client proves who it is: TLS and SASL (PLAIN, SCRAM, OAUTHBEARER without a signature) as a file of client settings asks for them.

The settings are those of Kafka's own clients and tools, with PEM files for keys and certificates. SCRAM is RFC 5802 from the client's side, and checks
the server as well; a server that asks for fewer than 4,096 or more than 16,384 iterations is refused (KIP-84).
"""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pykbroker.compat.expectations import expect, expect_that
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest

if TYPE_CHECKING:
    from pykbroker.compat.connection import Connection

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SCRAM_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
MECHANISMS = ("PLAIN", *SCRAM_HASHES, "OAUTHBEARER")
FEWEST_ITERATIONS, MOST_ITERATIONS = 4096, 16_384
TOKEN_LIFETIME_S = 3600

Ask = Callable[[bytes], bytes]
"""One SASL message to the broker, and its answer."""


class SettingsError(ValueError):
    """The client's settings name something that is not there, or that only Java knows."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who a client says it is, by which mechanism."""

    mechanism: str
    user: str
    password: str = field(default="", repr=False)
    by_token: bool = False
    """SCRAM with the id of a delegation token as user, and its HMAC as password (KIP-48)."""

    def converse(self, ask: Ask) -> None:
        """Log in. `ask` raises where the broker refuses; Unexpected where it cannot prove that it knows the password."""
        if self.mechanism in SCRAM_HASHES:
            ScramClient(self).converse(ask)
        elif self.mechanism == "PLAIN":
            ask(plain_message(self.user, self.password))
        else:
            ask(bearer_message(self.user))


@dataclass(frozen=True, slots=True)
class Security:
    """What a connection does before the first request. `login` and `tls` may be there for other connections than those of this protocol."""

    protocol: str = "PLAINTEXT"
    login: Login | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def logs_in(self) -> bool:
        """Whether the protocol has SASL."""
        return self.protocol.startswith("SASL")

    def wrapped(self, connected: socket.socket, host: str) -> socket.socket:
        """The same connection, encrypted where the protocol is."""
        if not self.protocol.endswith("SSL"):
            return connected
        return (self.tls or tls_context()).wrap_socket(connected, server_hostname=host)


PLAINTEXT = Security()


def read_command_config(path: str) -> Security:
    """The file that Kafka's tools take as `--command-config`. Raises SettingsError, OSError."""
    return security_of(_properties(pathlib.Path(path).read_text(encoding="utf-8")))


def security_of(settings: Mapping[str, str]) -> Security:
    """A client's settings: `security.protocol` and what belongs to it; what belongs to another protocol is kept for checks that try that one.
    Raises SettingsError.
    """
    protocol = settings.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in PROTOCOLS:
        raise SettingsError(f"security.protocol is {protocol}; it can be one of {', '.join(PROTOCOLS)}")
    has_login = protocol.startswith("SASL") or "sasl.mechanism" in settings
    has_tls = protocol.endswith("SSL") or any(name.startswith("ssl.") for name in settings)
    return Security(protocol, _login_of(settings) if has_login else None, _tls_of(settings) if has_tls else None)


def tls_context(authority: str | None = None, certificate: str | None = None, password: str | None = None) -> ssl.SSLContext:
    """TLS of a client: `authority` is the PEM file, or the PEM itself, whom to trust (None trusts anybody); `certificate` the PEM file of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if authority is None:
        context.verify_mode = ssl.CERT_NONE
    elif authority.startswith("-----BEGIN"):
        context.load_verify_locations(cadata=authority)
    else:
        context.load_verify_locations(authority)
    if certificate is not None:
        context.load_cert_chain(certificate, password=password)
    return context


def log_in(connection: "Connection", login: Login, version: int = 2) -> SaslAuthenticateResponse:
    """SaslHandshake and the conversation; the broker's last answer. Raises Unexpected where the login is refused."""
    expect(connection.ask(SaslHandshakeRequest(mechanism=login.mechanism), 1), error_code=ErrorCode.NONE)
    answer = SaslAuthenticateResponse()

    def ask(message: bytes) -> bytes:
        nonlocal answer
        answer = connection.ask(SaslAuthenticateRequest(auth_bytes=message), version)
        expect(answer, error_code=ErrorCode.NONE)
        return answer.auth_bytes

    login.converse(ask)
    return answer


def plain_message(user: str, password: str, acting_for: str = "") -> bytes:
    """The one message of PLAIN (RFC 4616)."""
    return b"\0".join(part.encode() for part in (acting_for, user, password))


def bearer_message(subject: str) -> bytes:
    """The first message of OAUTHBEARER (RFC 7628), with a token that nobody signed."""
    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + TOKEN_LIFETIME_S}
    token = ".".join(_base64url(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)) + "."
    return f"n,,\x01auth=Bearer {token}\x01\x01".encode()


class ScramClient:
    """One SCRAM exchange. Its messages can be had one by one, by who wants to see what the server says to each."""

    def __init__(self, login: Login, nonce: str = "") -> None:
        self._hash = SCRAM_HASHES[login.mechanism]
        self._password = login.password.encode()
        self.nonce = nonce or secrets.token_hex(12)
        name = login.user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={self.nonce}" + (",tokenauth=true" if login.by_token else "")
        self.server_nonce = ""
        self.iterations = 0
        self._server_signature = b""

    def converse(self, ask: Ask) -> None:
        """Both messages, and what the server has to prove."""
        server_final = ask(self.last(ask(self.first())))
        expect_that(self.knows(server_final), "the server proves that it knows the password, too")

    def first(self) -> bytes:
        """The name and the nonce."""
        return b"n,," + self._bare.encode()

    def last(self, server_first: bytes) -> bytes:
        """The proof. Raises Unexpected where the server's challenge is none."""
        text = server_first.decode(errors="replace")
        challenge = re.fullmatch(r"r=([^,]+),s=([^,]+),i=([0-9]{1,9})", text)
        expect_that(challenge, f"the server's first message has a nonce, a salt and iterations; it is {text!r}")
        assert challenge is not None
        self.server_nonce, salt, self.iterations = challenge[1], base64.b64decode(challenge[2]), int(challenge[3])
        extended = self.server_nonce.startswith(self.nonce) and len(self.server_nonce) > len(self.nonce)
        expect_that(extended, "the server's nonce begins with the client's, and goes on")
        expect_that(FEWEST_ITERATIONS <= self.iterations <= MOST_ITERATIONS, f"iterations are from 4096 to 16384, not {self.iterations}")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, self.iterations)
        without_proof = f"c=biws,r={self.server_nonce}"
        signed = f"{self._bare},{text},{without_proof}".encode()
        client_key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self._hash, client_key).digest(), signed)
        self._server_signature = self._hmac(self._hmac(salted, b"Server Key"), signed)
        proof = bytes(mine ^ theirs for mine, theirs in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def knows(self, server_final: bytes) -> bool:
        """Whether the server's last message is signed with what only who knows the password has."""
        return hmac.compare_digest(server_final, b"v=" + base64.b64encode(self._server_signature))

    def _hmac(self, key: bytes, text: bytes) -> bytes:
        return hmac.digest(key, text, self._hash)


def _login_of(settings: Mapping[str, str]) -> Login:
    mechanism = settings.get("sasl.mechanism", "GSSAPI").upper()
    if mechanism not in MECHANISMS:
        raise SettingsError(f"sasl.mechanism is {mechanism}; it can be one of {', '.join(MECHANISMS)}")
    options = dict(re.findall(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"', settings.get("sasl.jaas.config", "")))
    user = settings.get("sasl.username") or options.get("username") or options.get("unsecuredLoginStringClaim_sub")
    if not user:
        raise SettingsError("SASL needs a user: in sasl.jaas.config, or as sasl.username and sasl.password")
    password = settings.get("sasl.password") or options.get("password", "")
    return Login(mechanism, _unescaped(user), _unescaped(password), options.get("tokenauth", "") == "true")


def _tls_of(settings: Mapping[str, str]) -> ssl.SSLContext:
    for kind in ("ssl.truststore", "ssl.keystore"):
        if settings.get(f"{kind}.location") and settings.get(f"{kind}.type", "JKS").upper() != "PEM":
            raise SettingsError(f"{kind}.type has to be PEM: what keytool writes is read by Java only")
    authority = settings.get("ssl.truststore.certificates") or settings.get("ssl.truststore.location")
    try:
        context = tls_context(authority, settings.get("ssl.keystore.location"), settings.get("ssl.key.password"))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"The PEM files of ssl.truststore or ssl.keystore cannot be used: {error}") from error
    if authority is None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_default_certs()
    context.check_hostname = settings.get("ssl.endpoint.identification.algorithm", "https") != ""
    return context


def _properties(text: str) -> dict[str, str]:
    """`key=value` lines; a line that ends with a backslash goes on in the next."""
    joined = re.sub(r"\\\r?\n\s*", "", text)
    lines = (line.strip() for line in joined.splitlines())
    pairs = (re.split(r"\s*[=:]\s*", line, maxsplit=1) for line in lines if line and line[0] not in "#!")
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
