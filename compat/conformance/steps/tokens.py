"""Delegation tokens as a check has them: made by a user for the time of the check, and logged in with (KIP-48)."""

import base64
import time
from collections.abc import Sequence

from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import expect
from pykbroker.compat.security import Login, log_in
from pykbroker.compat.steps.users import User, connect_to_log_in
from pykbroker.compat.target import eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
    SaslAuthenticateResponse,
)

TOKENS = ("CreateDelegationToken", "RenewDelegationToken", "ExpireDelegationToken")
"""The APIs that they take."""

DELEGATION_TOKENS = "delegation tokens"
"""What checks may need: that delegation.token.secret.key is set."""

AT_ONCE = -1
SECOND_MS = 1000
DAY_MS = 24 * 60 * 60 * SECOND_MS


def creation(
    max_lifetime_ms: int = 60 * SECOND_MS,
    renewers: Sequence[tuple[str, str]] = (),
    owner: tuple[str | None, str | None] = (None, None),
    version: int = 3,
) -> CreateDelegationTokenRequest:
    """CreateDelegationToken for oneself, or for that owner, who is told from v3 on."""
    made = CreateDelegationTokenRequest.CreatableRenewers
    request = CreateDelegationTokenRequest(
        renewers=[made(principal_type=kind, principal_name=name) for kind, name in renewers], max_lifetime_ms=max_lifetime_ms
    )
    if version >= 3:
        request.owner_principal_type, request.owner_principal_name = owner
    return request


def new_token(
    user: User, max_lifetime_ms: int = 60 * SECOND_MS, renewers: Sequence[tuple[str, str]] = (), version: int = 3
) -> CreateDelegationTokenResponse:
    """A token of that user's, which is taken away after the check; back when the controller knows it."""
    token = user.ask(creation(max_lifetime_ms, renewers, version=version), version)
    expect(token, error_code=ErrorCode.NONE)
    user.target.afterwards(lambda: _expire(user, token.hmac))
    renewal = RenewDelegationTokenRequest(hmac=token.hmac, renew_period_ms=-1)
    eventually(lambda: user.ask(renewal, 2).error_code, lambda found: found != ErrorCode.DELEGATION_TOKEN_NOT_FOUND, "the token is known")
    return token


def login_by(token: CreateDelegationTokenResponse, mechanism: str = "SCRAM-SHA-256") -> Login:
    """The login of who has the token."""
    return Login(mechanism, token.token_id, base64.b64encode(token.hmac).decode(), by_token=True)


def session_by(user: User, token: CreateDelegationTokenResponse, version: int = 2) -> tuple[Connection, SaslAuthenticateResponse]:
    """A connection logged in with the token, as soon as the broker knows it, and what it was told of its session."""
    login = login_by(token)
    eventually(lambda: user.can_log_in(login) or is_over(token), bool, f"{login.user} can log in")
    connection = connect_to_log_in(user.target)
    return connection, log_in(connection, login, version)


def is_over(token: CreateDelegationTokenResponse) -> bool:
    """Whether its longest lifetime is."""
    return time.time() * 1000 >= token.max_timestamp_ms


def described(user: User, *owners: str, version: int = 3) -> list[DescribeDelegationTokenResponse.DescribedDelegationToken]:
    """The tokens of these users that the user is shown."""
    asked = DescribeDelegationTokenRequest.DescribeDelegationTokenOwner
    names = [asked(principal_type="User", principal_name=name) for name in owners]
    answer = user.ask(DescribeDelegationTokenRequest(owners=names), version)
    expect(answer, error_code=ErrorCode.NONE)
    return answer.tokens


def _expire(user: User, hmac: bytes) -> None:
    connection = user.connect()
    connection.ask(ExpireDelegationTokenRequest(hmac=hmac, expiry_time_period_ms=AT_ONCE), 2)
    connection.close()
