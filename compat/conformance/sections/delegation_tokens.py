"""S: delegation tokens: who may make, renew, end and see them, and how long they last (KIP-48, KIP-373)."""

import time

from pykbroker.compat.check import Settings, check
from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import NOT_EMPTY, NotServed, Where, expect, expect_equal, expect_that
from pykbroker.compat.security import Login, Security
from pykbroker.compat.steps.tokens import (
    AT_ONCE,
    DAY_MS,
    DELEGATION_TOKENS,
    SECOND_MS,
    TOKENS,
    creation,
    described,
    login_by,
    new_token,
    session_by,
)
from pykbroker.compat.steps.users import AUTHORIZER, CLIENT_CERTIFICATE, SASL_LISTENER, USERS, User, listeners
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    DescribeDelegationTokenRequest,
    ExpireDelegationTokenRequest,
    MetadataRequest,
    RenewDelegationTokenRequest,
)

NEEDS = (SASL_LISTENER, DELEGATION_TOKENS)
WITHOUT_TOKENS = Settings((("delegation.token.secret.key", ""),))
NOBODYS_HMAC = b"nobody has a token with this"
LONGEST_MS = 7 * DAY_MS
NOTHING = {"issue_timestamp_ms": -1, "expiry_timestamp_ms": -1, "max_timestamp_ms": -1, "token_id": "", "hmac": b""}


@check("S-10a", api=("CreateDelegationToken", "RenewDelegationToken", "ExpireDelegationToken", "DescribeDelegationToken"))
def there_are_no_tokens_for_who_is_nobody(target: Target) -> None:
    """Given a listener without SASL and without a client's certificate, all four APIs of tokens are DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, whatever
    they are asked, in every version. KIP-48.
    """
    connection = _connect_as_nobody(target)
    not_allowed = ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED
    for version in range(1, 4):
        made = connection.ask(creation(renewers=[("Group", "x")], version=version), version)
        expect(made, error_code=not_allowed, token_id="", hmac=b"")
        expect(connection.ask(DescribeDelegationTokenRequest(owners=None), version), error_code=not_allowed, tokens=[])
    for version in range(1, 3):
        expect(connection.ask(RenewDelegationTokenRequest(hmac=NOBODYS_HMAC, renew_period_ms=1), version), error_code=not_allowed)
        expect(connection.ask(ExpireDelegationTokenRequest(hmac=NOBODYS_HMAC, expiry_time_period_ms=1), version), error_code=not_allowed)


@check("S-10b", api=("CreateDelegationToken", *USERS, *TOKENS), versions="1-3", needs=NEEDS)
def a_token_is_made_for_who_asks(target: Target, version: int) -> None:
    """Given somebody logged in, a token has an id, 64 bytes of HMAC, its maker as owner, from v3 on as requester too, and lasts as long as was asked
    for. KIP-48, KIP-373.
    """
    user = User(target)
    before_ms = int(time.time() * 1000)

    token = new_token(user, 60 * SECOND_MS, version=version)

    expect(token, principal_type="User", principal_name=user.name, token_id=NOT_EMPTY)
    if version >= 3:
        expect(token, **_requested_by(user))
    expect_equal("the length of the HMAC", len(token.hmac), 64)
    expect(token, issue_timestamp_ms=_near(before_ms), max_timestamp_ms=token.issue_timestamp_ms + 60 * SECOND_MS)
    expect(token, expiry_timestamp_ms=token.max_timestamp_ms)


@check("S-10c", api=(*USERS, *TOKENS), needs=NEEDS)
def a_token_lasts_a_day_and_a_week_at_the_most(target: Target) -> None:
    """Given no lifetime, 0, or more than a week, a token can be renewed for a week, and ends after a day if it is not. KIP-48."""
    user = User(target)

    for lifetime_ms in (-1, 0, LONGEST_MS + DAY_MS):
        token = new_token(user, lifetime_ms)
        expect(token, expiry_timestamp_ms=token.issue_timestamp_ms + DAY_MS, max_timestamp_ms=token.issue_timestamp_ms + LONGEST_MS)


@check("S-10d", api=(*USERS, *TOKENS), needs=(*NEEDS, AUTHORIZER))
def only_users_renew_and_only_who_may_makes_for_others(target: Target) -> None:
    """Given a renewer of another type than User, INVALID_PRINCIPAL_TYPE; given an owner for whom one may not make tokens,
    DELEGATION_TOKEN_AUTHORIZATION_FAILED; no token is made. KIP-48, KIP-373.
    """
    user, other = User(target), User(target)

    renewer = user.ask(creation(renewers=[("User", other.name), ("Group", "x")]), 3)
    owner = user.ask(creation(owner=("User", other.name)), 3)

    expect(renewer, error_code=ErrorCode.INVALID_PRINCIPAL_TYPE, token_id="", hmac=b"")
    expect(owner, error_code=ErrorCode.DELEGATION_TOKEN_AUTHORIZATION_FAILED, token_id="", hmac=b"")
    expect_equal("the tokens", described(user, user.name), [])
    expect_equal("the tokens", described(other, other.name), [])


@check("S-10e", api=(*USERS, *TOKENS, "DescribeDelegationToken"), needs=NEEDS)
def a_token_makes_no_tokens(target: Target) -> None:
    """Given somebody who came by a token, CreateDelegationToken and DescribeDelegationToken are DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, with the owner
    and times of -1. KIP-48.
    """
    user = User(target)
    connection, _ = session_by(user, new_token(user))

    made = connection.ask(creation(), 3)
    shown = connection.ask(DescribeDelegationTokenRequest(owners=None), 3)

    expect(made, error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, principal_type="User", principal_name=user.name)
    expect(made, **_requested_by(user), **NOTHING)
    expect(shown, error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, tokens=[])


@check("S-10f", api=TOKENS, needs=(CLIENT_CERTIFICATE, DELEGATION_TOKENS))
def a_certificate_says_who_one_is(target: Target) -> None:
    """Given TLS and a client's certificate, a token's owner has its subject as name; without a certificate, one is nobody, and has no tokens. KIP-48."""
    address = listeners(target)["SSL"]
    somebody = target.connect(address=address, security=Security("SSL", tls=target.security.tls))
    nobody = target.connect(address=address, security=Security("SSL"))

    token = somebody.ask(creation(), 3)
    somebody.ask(ExpireDelegationTokenRequest(hmac=token.hmac, expiry_time_period_ms=AT_ONCE), 2)

    expect(token, error_code=ErrorCode.NONE, principal_type="User")
    expect_that("=" in token.principal_name, f"the owner is a subject; it is {token.principal_name}")
    expect(nobody.ask(creation(), 3), error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, hmac=b"")


@check("S-10g", api=("DescribeDelegationToken", *USERS, *TOKENS), needs=(SASL_LISTENER, WITHOUT_TOKENS))
def there_are_no_tokens_without_a_secret(target: Target) -> None:
    """Given no delegation.token.secret.key, all four APIs of tokens are DELEGATION_TOKEN_AUTH_DISABLED, with times of 0, for who has logged in. KIP-48."""
    user = User(target)

    made = user.ask(creation(), 3)
    renewed = user.ask(RenewDelegationTokenRequest(hmac=NOBODYS_HMAC, renew_period_ms=-1), 2)
    ended = user.ask(ExpireDelegationTokenRequest(hmac=NOBODYS_HMAC, expiry_time_period_ms=AT_ONCE), 2)
    shown = user.ask(DescribeDelegationTokenRequest(owners=None), 3)

    disabled = ErrorCode.DELEGATION_TOKEN_AUTH_DISABLED
    expect(made, error_code=disabled, hmac=b"", issue_timestamp_ms=0, expiry_timestamp_ms=0, max_timestamp_ms=0)
    for answer in (renewed, ended):
        expect(answer, error_code=disabled, expiry_timestamp_ms=0)
    expect(shown, error_code=disabled, tokens=[])


@check("S-09c", api=(*USERS, *TOKENS, "Metadata"), versions="0-1", needs=NEEDS)
def a_token_is_a_login(target: Target, version: int) -> None:
    """Given a token, SCRAM with its id and HMAC and `tokenauth=true` logs its owner in, for as long as the token lasts; without that word, or with
    another HMAC, it is refused. KIP-48.
    """
    user = User(target)
    token = new_token(user)

    connection, told = session_by(user, token)

    expect(told, session_lifetime_ms=Where("not longer than the token", lambda found: 0 < found <= 60 * SECOND_MS))
    expect(connection.ask(MetadataRequest(topics=[]), 9 + version), brokers=NOT_EMPTY)
    by_token = login_by(token)
    user.expect_refused(Login(by_token.mechanism, by_token.user, by_token.password))
    user.expect_refused(Login(by_token.mechanism, by_token.user, "wrong", by_token=True))


@check("S-11a", api=("RenewDelegationToken", "ExpireDelegationToken", *USERS, *TOKENS), versions="1-2", needs=NEEDS)
def only_owner_and_renewers_renew_and_end(target: Target, version: int) -> None:
    """Given an HMAC that no token has, DELEGATION_TOKEN_NOT_FOUND; given somebody who is neither owner nor renewer,
    DELEGATION_TOKEN_OWNER_MISMATCH; a renewer may renew and end it. KIP-48.
    """
    owner, renewer, other = User(target), User(target), User(target)
    token = new_token(owner, renewers=[("User", renewer.name)])
    eventually(lambda: described(owner, owner.name), lambda found: len(found) == 1, "the token is known")

    for asking, hmac, error in (
        (owner, NOBODYS_HMAC, ErrorCode.DELEGATION_TOKEN_NOT_FOUND),
        (other, token.hmac, ErrorCode.DELEGATION_TOKEN_OWNER_MISMATCH),
    ):
        renewal = asking.ask(RenewDelegationTokenRequest(hmac=hmac, renew_period_ms=SECOND_MS), version)
        ending = asking.ask(ExpireDelegationTokenRequest(hmac=hmac, expiry_time_period_ms=AT_ONCE), version)
        expect(renewal, error_code=error, expiry_timestamp_ms=0)
        expect(ending, error_code=error, expiry_timestamp_ms=0)
    renewed = renewer.ask(RenewDelegationTokenRequest(hmac=token.hmac, renew_period_ms=30 * SECOND_MS), version)
    ended = renewer.ask(ExpireDelegationTokenRequest(hmac=token.hmac, expiry_time_period_ms=AT_ONCE), version)
    expect(renewed, error_code=ErrorCode.NONE, expiry_timestamp_ms=_near(int(time.time() * 1000) + 30 * SECOND_MS))
    expect(ended, error_code=ErrorCode.NONE, expiry_timestamp_ms=_near(int(time.time() * 1000)))


@check("S-11b", api=("RenewDelegationToken", *USERS, *TOKENS), versions="1-2", needs=NEEDS)
def a_renewal_goes_no_further_than_the_token(target: Target, version: int) -> None:
    """Given a token of a minute, a renewal for longer goes to the end of that minute, and one without a period, or for more than a day of a token of a
    week, to a day from now. KIP-48.
    """
    user = User(target)
    short, long = new_token(user), new_token(user, -1)
    for token in (short, long):
        eventually(
            lambda token=token: user.ask(RenewDelegationTokenRequest(hmac=token.hmac, renew_period_ms=DAY_MS), version),  # type: ignore[misc]
            lambda found: found.error_code != ErrorCode.DELEGATION_TOKEN_NOT_FOUND,
            "the controller knows the token",
        )

    beyond = user.ask(RenewDelegationTokenRequest(hmac=short.hmac, renew_period_ms=DAY_MS), version)
    day = user.ask(RenewDelegationTokenRequest(hmac=long.hmac, renew_period_ms=-1), version)
    days = user.ask(RenewDelegationTokenRequest(hmac=long.hmac, renew_period_ms=3 * DAY_MS), version)

    expect(beyond, error_code=ErrorCode.NONE, expiry_timestamp_ms=short.max_timestamp_ms)
    for answer in (day, days):
        expect(answer, error_code=ErrorCode.NONE, expiry_timestamp_ms=_near(int(time.time() * 1000) + DAY_MS))


@check("S-11c", api=("RenewDelegationToken", *USERS, *TOKENS), needs=NEEDS)
def a_token_that_is_over_is_not_renewed(target: Target) -> None:
    """Given a token past its longest time, a renewal is DELEGATION_TOKEN_EXPIRED; ending it is no error. KIP-48."""
    user = User(target)
    token = new_token(user, 300)
    time.sleep(max(0.0, token.max_timestamp_ms / 1000 - time.time()) + 0.02)

    renewal = user.ask(RenewDelegationTokenRequest(hmac=token.hmac, renew_period_ms=-1), 2)
    ending = user.ask(ExpireDelegationTokenRequest(hmac=token.hmac, expiry_time_period_ms=AT_ONCE), 2)

    expect(renewal, error_code=ErrorCode.DELEGATION_TOKEN_EXPIRED)
    expect(ending, error_code=ErrorCode.NONE)


@check("S-11d", api=("ExpireDelegationToken", *USERS, *TOKENS), needs=NEEDS)
def a_token_that_is_ended_is_gone(target: Target) -> None:
    """Given an expiry of -1, the token is gone at once: it logs nobody in, is not described, and another end is DELEGATION_TOKEN_NOT_FOUND; given an
    expiry in the future, it lasts until then. KIP-48.
    """
    user = User(target)
    gone, left = new_token(user), new_token(user)
    eventually(lambda: described(user, user.name), lambda found: len(found) == 2, "both tokens are described")

    later = user.ask(ExpireDelegationTokenRequest(hmac=left.hmac, expiry_time_period_ms=20 * SECOND_MS), 2)
    first = user.ask(ExpireDelegationTokenRequest(hmac=gone.hmac, expiry_time_period_ms=AT_ONCE), 2)
    second = eventually(
        lambda: user.ask(ExpireDelegationTokenRequest(hmac=gone.hmac, expiry_time_period_ms=AT_ONCE), 2),
        lambda found: found.error_code != ErrorCode.NONE,
        "the token is gone",
    )

    expect(later, error_code=ErrorCode.NONE, expiry_timestamp_ms=_near(int(time.time() * 1000) + 20 * SECOND_MS))
    expect(first, error_code=ErrorCode.NONE)
    expect(second, error_code=ErrorCode.DELEGATION_TOKEN_NOT_FOUND)
    user.expect_refused(login_by(gone))
    shown = eventually(lambda: described(user, user.name), lambda found: len(found) == 1, "one token is left")
    expect(shown[0], token_id=left.token_id)


@check("S-11e", api=("DescribeDelegationToken", *USERS, *TOKENS), versions="1-3", needs=(*NEEDS, AUTHORIZER))
def one_sees_ones_own_tokens(target: Target, version: int) -> None:
    """Given tokens of two users, each sees its own, with its renewers, and a renewer those that it may renew; owners of nobody, none at all. KIP-48."""
    owner, renewer, other = User(target), User(target), User(target)
    token, foreign = new_token(owner, renewers=[("User", renewer.name)]), new_token(other)
    wait = "the token is known"
    eventually(lambda: described(owner, owner.name), lambda found: len(found) == 1, wait)
    eventually(lambda: described(other, other.name), lambda found: len(found) == 1, wait)

    for user, ids in ((owner, {token.token_id}), (renewer, {token.token_id}), (other, {foreign.token_id})):
        shown = user.ask(DescribeDelegationTokenRequest(owners=None), version)
        expect(shown, error_code=ErrorCode.NONE)
        expect_equal("the tokens that one sees", {one.token_id for one in shown.tokens}, ids)
    expect(owner.ask(DescribeDelegationTokenRequest(owners=[]), version), error_code=ErrorCode.NONE, tokens=[])
    expect_equal("the tokens of somebody else", described(owner, other.name, version=version), [])
    (own,) = described(owner, owner.name, version=version)
    expect(own, hmac=token.hmac, principal_name=owner.name, max_timestamp=token.max_timestamp_ms)
    expect_equal("the renewers", [(one.principal_type, one.principal_name) for one in own.renewers], [("User", renewer.name)])


def _connect_as_nobody(target: Target) -> Connection:
    if not target.security.logs_in:
        return target.connect(security=Security(target.security.protocol))
    found = listeners(target)
    protocol = next((one for one in ("PLAINTEXT", "SSL") if one in found), None)
    if protocol is None:
        raise NotServed("a listener without SASL")
    return target.connect(address=found[protocol], security=Security(protocol))


def _requested_by(user: User) -> dict[str, str]:
    return dict(zip(("token_requester_principal_type", "token_requester_principal_name"), user.principal.split(":"), strict=True))


def _near(milliseconds: int) -> Where:
    return Where(f"{milliseconds}, or some seconds more or less", lambda found: abs(found - milliseconds) < 5000)
