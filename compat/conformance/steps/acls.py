"""ACLs as a check has them: one line each, in force when it is back, and taken away after the check (KIP-11, KIP-290)."""

from typing import NamedTuple

from pykbroker.compat.expectations import expect, expect_equal
from pykbroker.compat.steps.users import User
from pykbroker.compat.target import Target, eventually
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DescribeAclsRequest, DescribeAclsResponse

ACLS = ("CreateAcls", "DescribeAcls", "DeleteAcls")
"""The APIs that they take."""

UNKNOWN, ANY, MATCH, LITERAL, PREFIXED = range(5)
TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID, DELEGATION_TOKEN, USER = range(2, 8)
ALL, READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE = range(2, 13)
DENY, ALLOW = 2, 3
THE_CLUSTER = "kafka-cluster"
EVERYBODY = "User:*"
EVERYWHERE = "*"


class Acl(NamedTuple):
    """One of them, in the order in which it is said: may Alice (not) read the topic `x`, from there?"""

    principal: str
    operation: int
    resource_type: int
    name: str
    pattern: int = LITERAL
    permission: int = ALLOW
    host: str = EVERYWHERE


def creation(acl: Acl) -> CreateAclsRequest.AclCreation:
    """As CreateAcls has it."""
    return CreateAclsRequest.AclCreation(
        resource_type=acl.resource_type,
        resource_name=acl.name,
        resource_pattern_type=acl.pattern,
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission,
    )


def create(target: Target, *acls: Acl, version: int | None = None) -> list[CreateAclsResponse.AclCreationResult]:
    """CreateAcls; what is answered for each. They are taken away after the check."""
    for one in acls:
        target.afterwards(lambda one=one: delete(target, filter_for(one)))  # type: ignore[misc]
    request = CreateAclsRequest(creations=[creation(one) for one in acls])
    answer = target.ask(request, target.newest(request, 3) if version is None else version)
    expect_equal("the number of results", len(answer.results), len(acls))
    return answer.results


def filter_of(
    *,
    principal: str | None = None,
    operation: int = ANY,
    resource_type: int = ANY,
    name: str | None = None,
    pattern: int = ANY,
    permission: int = ANY,
    host: str | None = None,
) -> DescribeAclsRequest:
    """A filter; what is not named may be anything."""
    return DescribeAclsRequest(
        resource_type_filter=resource_type,
        resource_name_filter=name,
        pattern_type_filter=pattern,
        principal_filter=principal,
        host_filter=host,
        operation=operation,
        permission_type=permission,
    )


def filter_for(acl: Acl) -> DescribeAclsRequest:
    """The filter that finds exactly that one."""
    return filter_of(
        principal=acl.principal,
        operation=acl.operation,
        resource_type=acl.resource_type,
        name=acl.name,
        pattern=acl.pattern,
        permission=acl.permission,
        host=acl.host,
    )


def acls_in(answer: DescribeAclsResponse) -> list[Acl]:
    """The answer, one by one."""
    return [
        Acl(one.principal, one.operation, found.resource_type, found.resource_name, found.pattern_type, one.permission_type, one.host)
        for found in answer.resources
        for one in found.acls
    ]


def described(target: Target, wanted: DescribeAclsRequest, version: int | None = None) -> list[Acl]:
    """DescribeAcls, without an error."""
    answer = target.ask(wanted, target.newest(wanted, 3) if version is None else version)
    expect(answer, error_code=ErrorCode.NONE)
    return acls_in(answer)


def delete(target: Target, *filters: DescribeAclsRequest, version: int | None = None) -> list[list[Acl]]:
    """DeleteAcls, without an error; what each filter took away."""
    request = DeleteAclsRequest(filters=[deletion(one) for one in filters])
    answer = target.ask(request, target.newest(request, 3) if version is None else version)
    expect_equal("the number of results", len(answer.filter_results), len(filters))
    for result in answer.filter_results:
        expect(result, error_code=ErrorCode.NONE)
    return [
        [
            Acl(one.principal, one.operation, one.resource_type, one.resource_name, one.pattern_type, one.permission_type, one.host)
            for one in result.matching_acls
        ]
        for result in answer.filter_results
    ]


def deletion(wanted: DescribeAclsRequest) -> DeleteAclsRequest.DeleteAclsFilter:
    """The same filter, as DeleteAcls has it."""
    return DeleteAclsRequest.DeleteAclsFilter(
        resource_type_filter=wanted.resource_type_filter,
        resource_name_filter=wanted.resource_name_filter,
        pattern_type_filter=wanted.pattern_type_filter,
        principal_filter=wanted.principal_filter,
        host_filter=wanted.host_filter,
        operation=wanted.operation,
        permission_type=wanted.permission_type,
    )


def allow(user: User, operation: int, resource_type: int, name: str, pattern: int = LITERAL, host: str = EVERYWHERE) -> Acl:
    """Let a user do that; back when the broker knows."""
    return put(user.target, Acl(user.principal, operation, resource_type, name, pattern, ALLOW, host))


def deny(user: User, operation: int, resource_type: int, name: str, pattern: int = LITERAL, host: str = EVERYWHERE) -> Acl:
    """Keep a user from doing that; back when the broker knows."""
    return put(user.target, Acl(user.principal, operation, resource_type, name, pattern, DENY, host))


def put(target: Target, acl: Acl) -> Acl:
    """Make one; back when the broker knows."""
    (result,) = create(target, acl)
    expect(result, error_code=ErrorCode.NONE)
    eventually(lambda: described(target, filter_for(acl)), lambda found: found == [acl], "the ACL is described")
    return acl


def take_away(target: Target, acl: Acl) -> None:
    """Delete one; back when the broker knows."""
    expect_equal("what is deleted", delete(target, filter_for(acl)), [[acl]])
    eventually(lambda: described(target, filter_for(acl)), lambda found: not found, "the ACL is gone")
