"""Users that a check makes for itself: with a password by SCRAM, with what ACLs give and take, and with connections of their own.

The broker's other listeners are found in its own configs, so that one address is enough to try them all.
"""

import hashlib
import os
from typing import TYPE_CHECKING, TypeVar

from pykbroker.compat.connection import Connection
from pykbroker.compat.expectations import Unexpected, expect, expect_equal, expect_that
from pykbroker.compat.security import FEWEST_ITERATIONS, SCRAM_HASHES, Login, Security
from pykbroker.compat.steps.configs import BROKER, own_id
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import (
    AlterUserScramCredentialsRequest,
    DescribeConfigsRequest,
    Message,
)

if TYPE_CHECKING:
    from pykbroker.protocol.messages import Request

R = TypeVar("R", bound=Message)

SASL_LISTENER = "a SASL listener"
PLAIN_LOGIN = "a PLAIN login"
CLIENT_CERTIFICATE = "a client certificate"
AUTHORIZER = "an authorizer"
"""What checks may need: SASL_PLAINTEXT or SASL_SSL with SCRAM; a user and a password for PLAIN, or a key and a certificate that the broker trusts,
among the client's settings that the suite is given; ACLs, and that the suite itself may do everything."""

USERS = ("SaslHandshake", "SaslAuthenticate", "AlterUserScramCredentials")
"""The APIs that they take."""

SHA_256, SHA_512 = 1, 2
MECHANISM_IDS = {"SCRAM-SHA-256": SHA_256, "SCRAM-SHA-512": SHA_512}


class User:
    """Somebody with a name that nobody else has, and one password."""

    def __init__(self, target: Target, mechanism: str = "SCRAM-SHA-256") -> None:
        self.target = target
        self.name = target.new_name("user")
        self.principal = f"User:{self.name}"
        self.login = Login(mechanism, self.name, target.new_name("password"))
        self._connection: Connection | None = None
        self._give_password()
        self._ready: Connection | None = self.wait_until_known(self.login)

    def connect(self) -> Connection:
        """A new connection that has logged in."""
        return log_in_as(self.target, self.login)

    def ask(self, request: "Request[R]", version: int) -> R:
        """Ask as that user, on a connection that is kept for it."""
        if self._connection is None:
            self._connection = self._ready or self.connect()
        try:
            return self._connection.ask(request, version)
        except Unexpected:
            self._connection = self._ready = None
            raise

    def ask_newest(self, request: "Request[R]", at_most: int) -> R:
        """The same, in the newest version up to that which the broker serves."""
        return self.ask(request, self.target.newest(request, at_most))

    def wait_until_known(self, login: Login) -> Connection:
        """Until somebody can log in so; the connection that did."""
        made = eventually(lambda: self._try(login), lambda found: found is not None, f"{login.user} can log in")
        assert made is not None
        return made

    def can_log_in(self, login: Login) -> bool:
        """Whether somebody can log in so now."""
        return self._try(login) is not None

    def take_password_away(self) -> None:
        """Delete the credential."""
        gone = AlterUserScramCredentialsRequest.ScramCredentialDeletion(name=self.name, mechanism=MECHANISM_IDS[self.login.mechanism])
        self.target.ask(AlterUserScramCredentialsRequest(deletions=[gone]), 0)

    def expect_refused(self, login: Login | None = None) -> None:
        """The user's login, or that one, is refused, at once or in a little while."""
        eventually(lambda: self._try(login or self.login), lambda found: found is None, "the login is refused")

    def _give_password(self) -> None:
        hash_name, mechanism = SCRAM_HASHES[self.login.mechanism], MECHANISM_IDS[self.login.mechanism]
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac(hash_name, self.login.password.encode(), salt, FEWEST_ITERATIONS)
        made = AlterUserScramCredentialsRequest.ScramCredentialUpsertion(
            name=self.name, mechanism=mechanism, iterations=FEWEST_ITERATIONS, salt=salt, salted_password=salted
        )
        self.target.afterwards(self.take_password_away)
        answer = self.target.ask(AlterUserScramCredentialsRequest(upsertions=[made]), 0)
        expect_equal("the users", [one.user for one in answer.results], [self.name])
        expect(answer.results[0], error_code=ErrorCode.NONE)

    def _try(self, login: Login) -> Connection | None:
        try:
            return log_in_as(self.target, login)
        except Unexpected as refused:
            if refused.field != "error_code":
                raise
            return None


def log_in_as(target: Target, login: Login) -> Connection:
    """A connection to the SASL listener on which that user has logged in."""
    protocol, address = sasl_listener(target)
    return target.connect(address=address, security=Security(protocol, login, target.security.tls))


def connect_to_log_in(target: Target) -> Connection:
    """A connection to the SASL listener on which nobody has logged in yet."""
    protocol, address = sasl_listener(target)
    return target.connect(address=address, security=Security(protocol, None, target.security.tls))


def sasl_listener(target: Target) -> tuple[str, tuple[str, int]]:
    """A listener with SASL, without TLS where there is the choice; its protocol and its address."""
    found = listeners(target)
    protocol = next((one for one in ("SASL_PLAINTEXT", "SASL_SSL") if one in found), None)
    expect_that(protocol, f"the broker has a SASL listener; it has {', '.join(found)}")
    assert protocol is not None
    return protocol, found[protocol]


def listeners(target: Target) -> dict[str, tuple[str, int]]:
    """The address of a listener by each security protocol, as the broker's configs have them."""
    keys = ["advertised.listeners", "listeners", "listener.security.protocol.map"]
    resource = DescribeConfigsRequest.DescribeConfigsResource(resource_type=BROKER, resource_name=own_id(target), configuration_keys=keys)
    answer = target.ask_newest(DescribeConfigsRequest(resources=[resource]), 4)
    configs = {one.name: one.value or "" for one in answer.results[0].configs}
    protocols = dict(pair.split(":", 1) for pair in configs.get("listener.security.protocol.map", "").split(",") if pair)
    found = {}
    for listener in (configs.get("advertised.listeners") or configs.get("listeners", "")).split(","):
        name, _, address = listener.partition("://")
        host, _, port = address.rpartition(":")
        if port:
            found[protocols.get(name, name)] = (host.strip("[]") or target.host, int(port))
    return found
