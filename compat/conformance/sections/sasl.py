"""S: SASL, before and while somebody logs in: what is said of mechanisms, what is taken in which state, and how a failure looks."""

import struct
import time
from typing import TYPE_CHECKING, TypeVar

from pykbroker.compat.check import check
from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.security import SCRAM_HASHES, Login, ScramClient, log_in, plain_message
from pykbroker.compat.steps.users import MECHANISM_IDS, PLAIN_LOGIN, SASL_LISTENER, USERS, User, connect_to_log_in
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import ApiVersionsRequest, Message, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest

if TYPE_CHECKING:
    from pykbroker.protocol.messages import Request

R = TypeVar("R", bound=Message)

SASL = ("SaslHandshake", "SaslAuthenticate")
NOT_A_MECHANISM = "TELEPATHY"
FAILURE_DELAY_S = 0.09
"""What a failed login waits at the least: connection.failed.authentication.delay.ms is 100."""


@check("S-01", api=SASL, versions="0-1", needs=SASL_LISTENER)
def an_enabled_mechanism_is_taken(target: Target, version: int) -> None:
    """Given SaslHandshake with each mechanism of which the broker says that it is enabled, no error, and all the mechanisms. KIP-43."""
    enabled = connect_to_log_in(target).ask(SaslHandshakeRequest(mechanism=NOT_A_MECHANISM), version).mechanisms

    expect_that(set(MECHANISM_IDS) & set(enabled), "SCRAM is enabled")
    for mechanism in enabled:
        answer = connect_to_log_in(target).ask(SaslHandshakeRequest(mechanism=mechanism), version)
        expect(answer, error_code=ErrorCode.NONE)
        expect_equal("the mechanisms", sorted(answer.mechanisms), sorted(enabled))


@check("S-02", api=SASL, versions="0-1", needs=SASL_LISTENER)
def an_unknown_mechanism_is_told_the_known_ones_and_closed(target: Target, version: int) -> None:
    """Given SaslHandshake with an unknown mechanism, or in lower case, UNSUPPORTED_SASL_MECHANISM with those that are enabled, and the connection
    is closed.
    """
    for mechanism in (NOT_A_MECHANISM, "scram-sha-256", ""):
        connection = connect_to_log_in(target)
        answer = connection.ask(SaslHandshakeRequest(mechanism=mechanism), version)

        expect(answer, error_code=ErrorCode.UNSUPPORTED_SASL_MECHANISM, mechanisms=NOT_EMPTY)
        expect_that(connection.is_closed(), "the connection is closed")


@check("S-03a", api=(*USERS, "Metadata"), needs=SASL_LISTENER)
def after_handshake_0_tokens_are_bare(target: Target) -> None:
    """Given SaslHandshake v0, SCRAM's messages go to and fro without headers, each behind its size; then requests are answered. KIP-43."""
    for mechanism in SCRAM_HASHES:
        connection = connect_to_log_in(target)
        login = User(target, mechanism).login
        expect(connection.ask(SaslHandshakeRequest(mechanism=mechanism), 0), error_code=ErrorCode.NONE)

        login.converse(lambda token, connection=connection: _bare(connection, token) or b"")  # type: ignore[misc]

        expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-03b", api=USERS, needs=SASL_LISTENER)
def after_handshake_0_a_failure_has_no_answer(target: Target) -> None:
    """Given SaslHandshake v0 and a wrong password, the connection is closed without an answer to the last message. KIP-43."""
    user = User(target)
    connection = connect_to_log_in(target)
    scram = ScramClient(_with_password(user.login, "wrong"))
    expect(connection.ask(SaslHandshakeRequest(mechanism=user.login.mechanism), 0), error_code=ErrorCode.NONE)

    server_first = _bare(connection, scram.first())
    expect_that(server_first, "the first message is answered")
    answer = _bare(connection, scram.last(server_first or b""))

    expect_that(answer is None, "the last message is not answered")


@check("S-03c", api=(*SASL, "Metadata"), needs=(SASL_LISTENER, PLAIN_LOGIN))
def after_handshake_0_plain_is_answered_by_nothing(target: Target) -> None:
    """Given SaslHandshake v0 and PLAIN, the right password is answered by an empty frame, and requests are; a wrong one by closing. KIP-43."""
    login = _plain_login(target)
    right, wrong = connect_to_log_in(target), connect_to_log_in(target)
    for connection in (right, wrong):
        expect(connection.ask(SaslHandshakeRequest(mechanism="PLAIN"), 0), error_code=ErrorCode.NONE)

    expect_equal("the answer to the right password", _bare(right, plain_message(login.user, login.password)), b"")
    expect_equal("the answer to a wrong password", _bare(wrong, plain_message(login.user, "wrong")), None)

    expect(right.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-03d", api=USERS, versions="0-2", needs=SASL_LISTENER)
def after_handshake_1_messages_are_requests(target: Target, version: int) -> None:
    """Given SaslHandshake v1, each message is a SaslAuthenticate; the last is answered with an empty error message, and no lifetime of the session
    where none is set. KIP-152, KIP-368.
    """
    users = [User(target, mechanism) for mechanism in SCRAM_HASHES]

    for user in users:
        connection = connect_to_log_in(target)
        sent = SaslHandshakeRequest(mechanism=user.login.mechanism)
        expect(connection.ask(sent, 1), error_code=ErrorCode.NONE)
        scram = ScramClient(user.login)
        first = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.first()), version)
        last = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.last(first.auth_bytes)), version)
        for answer in (first, last):
            expect(answer, error_code=ErrorCode.NONE, error_message="", session_lifetime_ms=0)
        expect_that(scram.knows(last.auth_bytes), "the broker proves that it knows the password, too")


@check("S-04a", api=(*SASL, "Metadata", "ApiVersions"), needs=SASL_LISTENER)
def before_the_handshake_only_versions_can_be_asked(target: Target) -> None:
    """Given no SaslHandshake, Metadata and SaslAuthenticate close the connection without an answer; ApiVersions is answered once, and a second
    one closes.
    """
    for request, version in ((MetadataRequest(topics=[]), 9), (SaslAuthenticateRequest(auth_bytes=b"\0a\0b"), 2)):
        connection = connect_to_log_in(target)
        connection.send(request, version)
        expect_that(connection.is_closed(), f"{type(request).__name__} closes the connection")

    connection = connect_to_log_in(target)
    expect(connection.ask(_api_versions(), 3), error_code=ErrorCode.NONE, api_keys=NOT_EMPTY)
    connection.send(_api_versions(), 3)
    expect_that(connection.is_closed(), "a second ApiVersions closes the connection")


@check("S-04b", api=(*SASL, "Metadata", "ApiVersions"), needs=SASL_LISTENER)
def after_the_handshake_only_the_login_goes_on(target: Target) -> None:
    """Given SaslHandshake, ApiVersions, another SaslHandshake and Metadata are ILLEGAL_SASL_STATE, where they have a field for it, and the connection
    is closed.
    """
    mechanism = next(iter(MECHANISM_IDS))

    versions = _after_the_handshake(target, _api_versions(), 3)
    handshake = _after_the_handshake(target, SaslHandshakeRequest(mechanism=mechanism), 1)
    metadata = _after_the_handshake(target, MetadataRequest(topics=[]), 13)
    without_field = _after_the_handshake(target, MetadataRequest(topics=[]), 9)

    expect(versions, error_code=ErrorCode.ILLEGAL_SASL_STATE)
    expect(handshake, error_code=ErrorCode.ILLEGAL_SASL_STATE, mechanisms=[])
    expect(metadata, error_code=ErrorCode.ILLEGAL_SASL_STATE)
    expect(without_field, brokers=[], topics=[])


@check("S-04c", api=(*USERS, "ApiVersions"), needs=SASL_LISTENER)
def versions_are_asked_before_the_handshake(target: Target) -> None:
    """Given ApiVersions and then SaslHandshake, the login goes on as without it, and ApiVersions can be asked again afterwards."""
    user = User(target)
    connection = connect_to_log_in(target)

    expect(connection.ask(_api_versions(), 3), error_code=ErrorCode.NONE, api_keys=NOT_EMPTY)
    expect(log_in(connection, user.login), error_code=ErrorCode.NONE)

    expect(connection.ask(_api_versions(), 3), error_code=ErrorCode.NONE, api_keys=NOT_EMPTY)


@check("S-05a", api=USERS, versions="0-2", needs=SASL_LISTENER)
def a_wrong_password_is_refused_after_a_while(target: Target, version: int) -> None:
    """Given SCRAM and a wrong password, SASL_AUTHENTICATION_FAILED after connection.failed.authentication.delay.ms, and the connection is closed;
    a user who is not there has the same message, at the first step. KIP-306.
    """
    user = User(target)
    messages = set()
    for login in (_with_password(user.login, "wrong"), Login(user.login.mechanism, target.new_name("nobody"), "wrong")):
        connection = connect_to_log_in(target)
        expect(connection.ask(SaslHandshakeRequest(mechanism=login.mechanism), 1), error_code=ErrorCode.NONE)
        scram = ScramClient(login)
        began = time.monotonic()
        answer = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.first()), version)
        if login.user == user.name:
            expect(answer, error_code=ErrorCode.NONE)
            began = time.monotonic()
            answer = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.last(answer.auth_bytes)), version)

        expect(answer, error_code=ErrorCode.SASL_AUTHENTICATION_FAILED, error_message=NOT_EMPTY, auth_bytes=b"", session_lifetime_ms=0)
        expect_that(time.monotonic() - began >= FAILURE_DELAY_S, "the answer waits for a while")
        expect_that(connection.is_closed(), "the connection is closed")
        messages.add(answer.error_message)
    expect_equal("the number of messages", len(messages), 1)


@check("S-05b", api=SASL, versions="0-2", needs=(SASL_LISTENER, PLAIN_LOGIN))
def a_wrong_message_of_plain_is_refused(target: Target, version: int) -> None:
    """Given PLAIN and a wrong password, a user who is not there, no user, no password, a login for somebody else, or one part instead of three,
    SASL_AUTHENTICATION_FAILED, and the connection is closed; of a wrong password and of a user who is not there it says the same.
    """
    login = _plain_login(target)
    wrong = [
        plain_message(login.user, login.password + "x"),
        plain_message(target.new_name("nobody"), login.password),
        plain_message("", login.password),
        plain_message(login.user, ""),
        plain_message(login.user, login.password, acting_for="somebody-else"),
        b"one part",
    ]

    said = []
    for message in wrong:
        connection = connect_to_log_in(target)
        expect(connection.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1), error_code=ErrorCode.NONE)
        answer = connection.ask(SaslAuthenticateRequest(auth_bytes=message), version)
        expect(answer, error_code=ErrorCode.SASL_AUTHENTICATION_FAILED, error_message=NOT_EMPTY, auth_bytes=b"")
        expect_that(connection.is_closed(), "the connection is closed")
        said.append(answer.error_message)
    expect_equal("what is said of a user who is not there", said[1], said[0])
    expect_equal("the number of messages", len(set(said)), len(wrong) - 1)


@check("S-06a", api=("SaslHandshake", "SaslAuthenticate", "Metadata"), versions="0-1")
def there_is_no_login_where_there_is_no_sasl(target: Target, version: int) -> None:
    """Given a listener without SASL, or a login that is done, SaslHandshake is ILLEGAL_SASL_STATE without mechanisms, and the connection stays open."""
    connection = target.connect()

    answer = connection.ask(SaslHandshakeRequest(mechanism="PLAIN"), version)

    expect(answer, error_code=ErrorCode.ILLEGAL_SASL_STATE, mechanisms=[])
    expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-06b", api=("SaslAuthenticate", "Metadata"), versions="0-2")
def there_is_nothing_to_authenticate_where_there_is_no_sasl(target: Target, version: int) -> None:
    """Given a listener without SASL, or a login that is done, SaslAuthenticate is ILLEGAL_SASL_STATE, says so, and the connection stays open."""
    connection = target.connect()

    answer = connection.ask(SaslAuthenticateRequest(auth_bytes=plain_message("alice", "secret")), version)

    expect(answer, error_code=ErrorCode.ILLEGAL_SASL_STATE, error_message=NOT_EMPTY, auth_bytes=b"", session_lifetime_ms=0)
    expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-06c", api=(*USERS, "Metadata"), needs=SASL_LISTENER)
def who_has_logged_in_does_not_log_in_again(target: Target) -> None:
    """Given a login that is done, of a session without end, SaslHandshake and SaslAuthenticate are ILLEGAL_SASL_STATE; the connection stays open."""
    connection = User(target).connect()

    handshake = connection.ask(SaslHandshakeRequest(mechanism=next(iter(MECHANISM_IDS))), 1)
    authenticate = connection.ask(SaslAuthenticateRequest(auth_bytes=b"n,,n=a,r=b"), 2)

    expect(handshake, error_code=ErrorCode.ILLEGAL_SASL_STATE, mechanisms=[])
    expect(authenticate, error_code=ErrorCode.ILLEGAL_SASL_STATE, error_message=NOT_EMPTY, auth_bytes=b"")
    expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-09a", api=(*USERS, "Metadata"), needs=SASL_LISTENER)
def scram_proves_both_sides(target: Target) -> None:
    """Given SCRAM-SHA-256 and SCRAM-SHA-512, the broker goes on with the client's nonce, asks for 4,096 iterations as the credential has, and signs
    with what the password gives; two logins have different nonces. KIP-84.
    """
    for mechanism in SCRAM_HASHES:
        user = User(target, mechanism)
        nonces = set()
        for _ in range(2):
            connection = connect_to_log_in(target)
            expect(connection.ask(SaslHandshakeRequest(mechanism=mechanism), 1), error_code=ErrorCode.NONE)
            scram = ScramClient(user.login, nonce="a-nonce-of-the-client")
            first = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.first()), 2)
            last = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.last(first.auth_bytes)), 2)
            expect(last, error_code=ErrorCode.NONE)
            expect_equal("the iterations", scram.iterations, 4096)
            expect_that(scram.knows(last.auth_bytes), "the broker proves that it knows the password, too")
            nonces.add(scram.server_nonce)
        expect_equal("the number of nonces", len(nonces), 2)


@check("S-09b", api=USERS, needs=SASL_LISTENER)
def a_proof_for_another_nonce_is_refused(target: Target) -> None:
    """Given a last message of SCRAM with another nonce than the broker's, SASL_AUTHENTICATION_FAILED: nobody can play back what was said."""
    user = User(target)
    connection = connect_to_log_in(target)
    expect(connection.ask(SaslHandshakeRequest(mechanism=user.login.mechanism), 1), error_code=ErrorCode.NONE)
    scram = ScramClient(user.login)
    first = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.first()), 2)
    another = first.auth_bytes.replace(scram.nonce.encode(), scram.nonce.encode() + b"x", 1)

    answer = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.last(another)), 2)

    expect(answer, error_code=ErrorCode.SASL_AUTHENTICATION_FAILED, error_message=NOT_EMPTY)
    expect_that(connection.is_closed(), "the connection is closed")


@check("S-12a", api=(*SASL, "Metadata"), needs=(SASL_LISTENER, PLAIN_LOGIN))
def a_login_for_oneself_is_taken(target: Target) -> None:
    """Given PLAIN with nobody to act for, or oneself, the login is taken, and requests are answered."""
    login = _plain_login(target)

    for acting_for in ("", login.user):
        connection = connect_to_log_in(target)
        expect(connection.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1), error_code=ErrorCode.NONE)
        message = plain_message(login.user, login.password, acting_for)
        answer = connection.ask(SaslAuthenticateRequest(auth_bytes=message), 2)
        expect(answer, error_code=ErrorCode.NONE, error_message="", auth_bytes=b"", session_lifetime_ms=0)
        expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-12c", api=(*USERS, "Metadata"), needs=SASL_LISTENER)
def a_password_that_is_taken_away_is_refused(target: Target) -> None:
    """Given a user whose credential is deleted, the password is refused; who has logged in before goes on. KIP-554."""
    user = User(target)
    connection = user.connect()

    user.take_password_away()

    expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)
    user.expect_refused()


def _after_the_handshake(target: Target, request: "Request[R]", version: int) -> R:
    connection = connect_to_log_in(target)
    expect(connection.ask(SaslHandshakeRequest(mechanism=next(iter(MECHANISM_IDS))), 1), error_code=ErrorCode.NONE)
    answer = connection.ask(request, version)
    expect_that(connection.is_closed(), f"{type(request).__name__} closes the connection")
    return answer


def _api_versions() -> ApiVersionsRequest:
    return ApiVersionsRequest(client_software_name="conformance", client_software_version="1")


def _with_password(login: Login, password: str) -> Login:
    return Login(login.mechanism, login.user, password)


def _plain_login(target: Target) -> Login:
    login = target.security.login
    expect_that(login is not None and login.mechanism == "PLAIN", "the suite was given a user for PLAIN")
    assert login is not None
    return login


def _bare(connection: Connection, token: bytes) -> bytes | None:
    """A message behind its size, and the answer; None where the connection is closed instead."""
    connection.send_bytes(struct.pack(">i", len(token)) + token)
    return connection.receive_frame()
