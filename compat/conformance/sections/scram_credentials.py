"""Q: SCRAM credentials as an administrator makes, describes and deletes them (KIP-554)."""

import hashlib
from collections.abc import Iterable

from pykbroker.compat.check import check
from pykbroker.compat.expectations import NOT_EMPTY, expect, expect_equal, expect_that
from pykbroker.compat.steps.users import SHA_256, SHA_512
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
)

Upsertion = AlterUserScramCredentialsRequest.ScramCredentialUpsertion
Deletion = AlterUserScramCredentialsRequest.ScramCredentialDeletion
Info = DescribeUserScramCredentialsResponse.CredentialInfo

CREDENTIALS = ("AlterUserScramCredentials", "DescribeUserScramCredentials")
SALT = b"0123456789abcdef"


def upsertion(
    user: str, mechanism: int = SHA_256, iterations: int = 4096, salt: bytes = SALT, salted_password: bytes | None = None
) -> Upsertion:
    """A credential for the password `secret`."""
    name = "sha512" if mechanism == SHA_512 else "sha256"
    salted = hashlib.pbkdf2_hmac(name, b"secret", salt, 4096) if salted_password is None else salted_password
    return Upsertion(name=user, mechanism=mechanism, iterations=iterations, salt=salt, salted_password=salted)


def altered(
    target: Target, upsertions: Iterable[Upsertion] = (), deletions: Iterable[Deletion] = ()
) -> dict[str, AlterUserScramCredentialsResponse.AlterUserScramCredentialsResult]:
    """AlterUserScramCredentials; what is answered for each user, who is answered once. What it makes is taken away after the check."""
    made = list(upsertions)
    target.afterwards(lambda: target.ask(_deletion_of(made), 0))
    answer = target.ask(AlterUserScramCredentialsRequest(upsertions=made, deletions=list(deletions)), 0)
    by_user = {one.user: one for one in answer.results}
    expect_equal("the number of answers", len(answer.results), len(by_user))
    return by_user


def described(target: Target, *users: str) -> DescribeUserScramCredentialsResponse:
    """DescribeUserScramCredentials of these, or of all."""
    names = [DescribeUserScramCredentialsRequest.UserName(name=user) for user in users]
    return target.ask(DescribeUserScramCredentialsRequest(users=names or None), 0)


@check("Q-07a", api=CREDENTIALS)
def credentials_that_cannot_be_are_refused(target: Target) -> None:
    """Given fewer than 4,096 iterations, more than 16,384, or no user, UNACCEPTABLE_CREDENTIAL; an unknown mechanism,
    UNSUPPORTED_SASL_MECHANISM; another user of the request is made all the same. KIP-554.
    """
    few, many, unknown, good = (target.new_name("user") for _ in range(4))

    answers = altered(
        target, [upsertion(few, iterations=4095), upsertion(many, iterations=16_385), upsertion(""), upsertion(unknown, 9), upsertion(good)]
    )

    expect_equal("the users", set(answers), {few, many, "", unknown, good})
    for user in (few, many, ""):
        expect(answers[user], error_code=ErrorCode.UNACCEPTABLE_CREDENTIAL, error_message=NOT_EMPTY)
    expect(answers[unknown], error_code=ErrorCode.UNSUPPORTED_SASL_MECHANISM, error_message=NOT_EMPTY)
    expect(answers[good], error_code=ErrorCode.NONE, error_message=None)
    eventually(lambda: described(target, good).results[0], lambda found: found.error_code == 0, "the good one is made")


@check("Q-07b", api=CREDENTIALS)
def a_user_is_altered_once_in_a_request(target: Target) -> None:
    """Given a user twice in a request, by two mechanisms, or deleted and made, DUPLICATE_RESOURCE, once, and nothing is changed. KIP-554."""
    twice, both, again = (target.new_name("user") for _ in range(3))
    altered(target, [upsertion(again, iterations=5000)])

    answers = altered(
        target,
        [upsertion(twice), upsertion(twice, iterations=5000), upsertion(both), upsertion(both, SHA_512), upsertion(again)],
        [Deletion(name=again, mechanism=SHA_256)],
    )

    for user in (twice, both, again):
        expect(answers[user], error_code=ErrorCode.DUPLICATE_RESOURCE, error_message=NOT_EMPTY)
    for user in (twice, both):
        expect(described(target, user).results[0], error_code=ErrorCode.RESOURCE_NOT_FOUND)
    there = eventually(lambda: described(target, again).results[0], lambda found: found.error_code == 0, "the first is described")
    expect(there, credential_infos=[Info(mechanism=SHA_256, iterations=5000)])


@check("Q-07c", api=CREDENTIALS)
def a_credential_that_is_not_there_cannot_be_deleted(target: Target) -> None:
    """Given a user without a credential, or with one of another mechanism, a deletion is RESOURCE_NOT_FOUND; what is there is deleted."""
    nobody, user = target.new_name("user"), target.new_name("user")
    expect(altered(target, [upsertion(user, SHA_512)])[user], error_code=ErrorCode.NONE)

    missing = altered(target, deletions=[Deletion(name=nobody, mechanism=SHA_256), Deletion(name=user, mechanism=SHA_256)])
    deleted = altered(target, deletions=[Deletion(name=user, mechanism=SHA_512)])

    for name in (nobody, user):
        expect(missing[name], error_code=ErrorCode.RESOURCE_NOT_FOUND, error_message=NOT_EMPTY)
    expect(deleted[user], error_code=ErrorCode.NONE)
    eventually(lambda: described(target, user).results[0].error_code, lambda found: found == ErrorCode.RESOURCE_NOT_FOUND, "it is gone")


@check("Q-07d", api=CREDENTIALS)
def credentials_are_described_without_their_secrets(target: Target) -> None:
    """Given a user with two mechanisms, each is described with its iterations, among all users as well; a user without any is
    RESOURCE_NOT_FOUND. KIP-554.
    """
    user, nobody = target.new_name("user"), target.new_name("user")
    altered(target, [upsertion(user)])
    altered(target, [upsertion(user, SHA_512, iterations=8192)])
    eventually(lambda: described(target, user).results[0], lambda found: len(found.credential_infos) == 2, "both are described")

    named = described(target, user, nobody)
    everybody = described(target)

    infos = [Info(mechanism=SHA_256, iterations=4096), Info(mechanism=SHA_512, iterations=8192)]
    by_user = {one.user: one for one in named.results}
    expect_equal("the users", set(by_user), {user, nobody})
    expect(by_user[nobody], error_code=ErrorCode.RESOURCE_NOT_FOUND, error_message=NOT_EMPTY, credential_infos=[])
    expect_that(user in {one.user for one in everybody.results}, "the user is among all")
    for found in (by_user[user], next(one for one in everybody.results if one.user == user)):
        expect(found, error_code=ErrorCode.NONE)
        expect_equal("the mechanisms", sorted(found.credential_infos, key=lambda one: one.mechanism), infos)
    for answer in (named, everybody):
        expect(answer, error_code=ErrorCode.NONE, error_message="")


@check("Q-07e", api=CREDENTIALS)
def a_user_named_twice_is_described_once(target: Target) -> None:
    """Given a user named twice in DescribeUserScramCredentials, DUPLICATE_RESOURCE, in one entry. KIP-554."""
    user = target.new_name("user")
    altered(target, [upsertion(user)])
    eventually(lambda: described(target, user).results[0], lambda found: found.error_code == 0, "the user is described")

    answer = described(target, user, user)

    expect_equal("the number of entries", len(answer.results), 1)
    expect(answer.results[0], user=user, error_code=ErrorCode.DUPLICATE_RESOURCE, error_message=NOT_EMPTY, credential_infos=[])


@check("S-12b", api=CREDENTIALS)
def an_empty_salt_is_taken_and_an_empty_password_is_not(target: Target) -> None:
    """Given a credential with an empty salt, it is made; with an empty salted password, UNKNOWN_SERVER_ERROR. KIP-554."""
    user, nobody = target.new_name("user"), target.new_name("user")

    expect(altered(target, [upsertion(user, salt=b"", salted_password=bytes(32))])[user], error_code=ErrorCode.NONE)
    expect(altered(target, [upsertion(nobody, salted_password=b"")])[nobody], error_code=ErrorCode.UNKNOWN_SERVER_ERROR)

    eventually(lambda: described(target, user).results[0].error_code, lambda found: found == 0, "it is described")
    expect(described(target, nobody).results[0], error_code=ErrorCode.RESOURCE_NOT_FOUND)


def _deletion_of(made: list[Upsertion]) -> AlterUserScramCredentialsRequest:
    """One of each user's, so that no user is altered twice; the rest goes with the other calls."""
    by_user = {one.name: one.mechanism for one in made}
    return AlterUserScramCredentialsRequest(deletions=[Deletion(name=name, mechanism=mechanism) for name, mechanism in by_user.items()])
