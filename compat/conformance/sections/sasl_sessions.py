"""S: sessions that end, as those of delegation tokens do, and how somebody logs in anew before or after (KIP-368)."""

import time
from typing import TYPE_CHECKING

from pykbroker.compat.check import Settings, check
from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import NOT_EMPTY, Unexpected, Where, expect, expect_that
from pykbroker.compat.security import Login, ScramClient, log_in
from pykbroker.compat.steps.tokens import DELEGATION_TOKENS, TOKENS, is_over, login_by, new_token, session_by
from pykbroker.compat.steps.users import SASL_LISTENER, USERS, User, connect_to_log_in
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    CreateDelegationTokenResponse,
    MetadataRequest,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

APIS = ("SaslAuthenticate", *USERS, *TOKENS, "Metadata")
NEEDS = (SASL_LISTENER, DELEGATION_TOKENS)
SHORT_MS = 1200
LIFETIMES_MS = (SHORT_MS, 4 * SHORT_MS, 12 * SHORT_MS)
SHORT_SESSIONS = Settings((("connections.max.reauth.ms", str(SHORT_MS)),))


@check("S-07a", api=APIS, versions="0-2", needs=NEEDS)
def a_session_that_is_over_is_closed(target: Target, version: int) -> None:
    """Given a login whose session ends, SaslAuthenticate tells how long it lasts, from v1 on; requests are answered until then; the first after it
    closes the connection without an answer, in v0 as well. KIP-368.
    """
    token, lifetime_ms, [(connection, told)] = _sessions_under_way(User(target), 1, version)

    expect(told, session_lifetime_ms=_between(1, lifetime_ms) if version >= 1 else 0)
    time.sleep(max(0.0, token.max_timestamp_ms / 1000 - time.time()) + 0.02)
    connection.send(MetadataRequest(topics=[]), 9)

    expect_that(connection.is_closed(), "the connection is closed")


@check("S-07b", api=APIS, needs=NEEDS)
def who_logs_in_anew_goes_on(target: Target) -> None:
    """Given a session that ends, a login of the same user is taken, before its end and after it, and requests are answered in the new session.
    KIP-368.
    """
    user = User(target)
    token, _, [(before, _), (after, _)] = _sessions_under_way(user, 2)

    expect(log_in(before, user.login), error_code=ErrorCode.NONE, session_lifetime_ms=0)
    time.sleep(max(0.0, token.max_timestamp_ms / 1000 - time.time()) + 0.02)
    expect(log_in(after, user.login), error_code=ErrorCode.NONE, session_lifetime_ms=0)

    for connection in (before, after):
        expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-07c", api=APIS, needs=NEEDS)
def nobody_logs_in_anew_twice_within_a_second(target: Target) -> None:
    """Given a session that ends, in which somebody has just logged in anew, another SaslHandshake is ILLEGAL_SASL_STATE, and the session goes on.
    KIP-368.
    """
    user = User(target)
    token = new_token(user)
    connection, _ = session_by(user, token)
    expect(log_in(connection, login_by(token)), error_code=ErrorCode.NONE, session_lifetime_ms=_between(1, 60_000))

    answer = connection.ask(SaslHandshakeRequest(mechanism=user.login.mechanism), 1)

    expect(answer, error_code=ErrorCode.ILLEGAL_SASL_STATE, mechanisms=[])
    expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)


@check("S-08", api=APIS, needs=NEEDS)
def another_login_ends_the_session(target: Target) -> None:
    """Given a session that ends, a login anew as another user, or with a wrong password, is SASL_AUTHENTICATION_FAILED; with another mechanism, the
    handshake is taken and the next message is not answered; another request in between is ILLEGAL_SASL_STATE; each closes the connection. KIP-368.
    """
    user, other = User(target), User(target)
    token = new_token(user)
    tries: list[Callable[[Connection], None]] = [
        lambda connection: _refused(connection, other.login),
        lambda connection: _refused(connection, Login(user.login.mechanism, user.name, "wrong")),
        _with_another_mechanism,
        _with_another_request,
    ]
    connections = [session_by(user, token)[0] for _ in tries]

    for attempt, connection in zip(tries, connections, strict=True):
        attempt(connection)
        expect_that(connection.is_closed(), "the connection is closed")


@check("S-07d", api=("SaslAuthenticate", *USERS, "Metadata"), versions="0-2", needs=(SASL_LISTENER, SHORT_SESSIONS))
def sessions_end_where_that_is_set(target: Target, version: int) -> None:
    """Given connections.max.reauth.ms, SaslAuthenticate tells that time from v1 on; after it a request closes the connection without an answer, in v0
    as well, and a login anew by the same mechanism goes on for as long again. KIP-368.
    """
    user = User(target)
    closing, going_on = connect_to_log_in(target), connect_to_log_in(target)
    for connection in (closing, going_on):
        told = log_in(connection, user.login, version)
        expect(told, error_code=ErrorCode.NONE, session_lifetime_ms=SHORT_MS if version >= 1 else 0)
    time.sleep(SHORT_MS / 1000 + 0.1)

    again = log_in(going_on, user.login, version)
    closing.send(MetadataRequest(topics=[]), 9)

    expect(again, error_code=ErrorCode.NONE, session_lifetime_ms=SHORT_MS if version >= 1 else 0)
    expect(going_on.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)
    expect_that(closing.is_closed(), "the connection is closed")


def _sessions_under_way(
    user: User, count: int, version: int = 2
) -> tuple[CreateDelegationTokenResponse, int, list[tuple[Connection, SaslAuthenticateResponse]]]:
    """A token, its lifetime, and sessions by it in which a request was answered; its lifetime is longer where the machine is too busy for that."""
    for lifetime_ms in LIFETIMES_MS:
        token = new_token(user, lifetime_ms)
        try:
            sessions = [session_by(user, token, version) for _ in range(count)]
            for connection, _ in sessions:
                expect(connection.ask(MetadataRequest(topics=[]), 9), brokers=NOT_EMPTY)
        except Unexpected:
            if lifetime_ms == LIFETIMES_MS[-1] or not is_over(token):
                raise
        else:
            break
    return token, lifetime_ms, sessions


def _refused(connection: Connection, login: Login) -> None:
    expect(connection.ask(SaslHandshakeRequest(mechanism=login.mechanism), 1), error_code=ErrorCode.NONE)
    scram = ScramClient(login)
    first = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.first()), 2)
    expect(first, error_code=ErrorCode.NONE)
    last = connection.ask(SaslAuthenticateRequest(auth_bytes=scram.last(first.auth_bytes)), 2)
    expect(last, error_code=ErrorCode.SASL_AUTHENTICATION_FAILED, error_message=NOT_EMPTY)


def _with_another_mechanism(connection: Connection) -> None:
    expect(connection.ask(SaslHandshakeRequest(mechanism="SCRAM-SHA-512"), 1), error_code=ErrorCode.NONE)
    scram = ScramClient(Login("SCRAM-SHA-512", "anybody", "anything"))
    connection.send(SaslAuthenticateRequest(auth_bytes=scram.first()), 2)


def _with_another_request(connection: Connection) -> None:
    expect(connection.ask(SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1), error_code=ErrorCode.NONE)
    answer = connection.ask(MetadataRequest(topics=[]), 13)
    expect(answer, error_code=ErrorCode.ILLEGAL_SASL_STATE)


def _between(least: int, most: int) -> Where:
    return Where(f"between {least} and {most}", lambda found: least <= found <= most)
