"""The suite judges brokers that serve older versions only: put to ours, held down to what old releases of Kafka had, nothing fails and little is left out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from pykbroker.apis import api_versions, served, served_names
from pykbroker.compat.check import Check, all_checks
from pykbroker.compat.command import FORMATS
from pykbroker.compat.runner import Result, Status, run_together
from pykbroker.compat.target import Target
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.testing import KafkaBroker

KAFKA_2_8 = {
    "produce": 8,
    "fetch": 12,
    "list_offsets": 6,
    "metadata": 11,
    "offset_commit": 8,
    "offset_fetch": 7,
    "find_coordinator": 3,
    "join_group": 7,
    "heartbeat": 4,
    "leave_group": 4,
    "sync_group": 5,
    "describe_groups": 5,
    "list_groups": 4,
    "api_versions": 3,
    "create_topics": 6,
    "delete_topics": 5,
    "delete_records": 2,
    "init_producer_id": 4,
    "offset_for_leader_epoch": 4,
    "create_partitions": 3,
    "delete_groups": 2,
    "describe_configs": 4,
    "alter_configs": 2,
    "incremental_alter_configs": 1,
    "offset_delete": 0,
    "describe_cluster": 0,
}
"""About what Kafka 2.8 had of the APIs that we have; and what 2.3 had."""

KAFKA_2_3 = {
    "produce": 7,
    "fetch": 11,
    "list_offsets": 5,
    "metadata": 8,
    "offset_commit": 7,
    "offset_fetch": 5,
    "find_coordinator": 2,
    "join_group": 5,
    "heartbeat": 3,
    "leave_group": 2,
    "sync_group": 3,
    "describe_groups": 3,
    "list_groups": 2,
    "api_versions": 2,
    "create_topics": 3,
    "delete_topics": 3,
    "delete_records": 1,
    "init_producer_id": 1,
    "offset_for_leader_epoch": 3,
    "create_partitions": 1,
    "delete_groups": 1,
    "describe_configs": 2,
    "alter_configs": 1,
    "incremental_alter_configs": 0,
}

JOBS = 8


@contextmanager
def held_down_to(newest: Mapping[str, int]) -> Iterator[None]:
    """Our broker serves these APIs, up to these versions, and no others."""
    names = served_names()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for key, name in list(names.items()):
                module = served(key)
                if name in newest:
                    patch.setattr(module, "VERSIONS", range(module.VERSIONS.start, newest[name] + 1))
                else:
                    del names[key]
            forget_what_is_served()
            yield
    finally:
        served_names.cache_clear()
        forget_what_is_served()


def forget_what_is_served() -> None:
    served.cache_clear()
    api_versions._served_apis.cache_clear()


def put_to(sections: set[str], newest: Mapping[str, int]) -> list[Result]:
    checks = [check for check in all_checks() if check.section in sections and check.needs is None]
    with held_down_to(newest), KafkaBroker() as broker:
        host, _, port = broker.bootstrap.rpartition(":")
        return run_together(checks, lambda: Target(host, int(port)), jobs=JOBS)


def has_to_be_left_out(check: Check, newest: Mapping[str, int]) -> bool:
    """It needs an API that is not there, or says that it is about later versions."""
    if any(api.name in check.apis and api.module_name not in newest for api in API_BY_KEY.values()):
        return True
    return check.takes_version and min(check.versions) > newest[module_name(check.apis[0])]


def module_name(api_name: str) -> str:
    return next(api.module_name for api in API_BY_KEY.values() if api.name == api_name)


@pytest.mark.parametrize(
    ("newest", "sections", "of_later_versions"),
    [
        (KAFKA_2_8, {"F", "FS", "G", "L", "O", "P"}, {"FS-07a", "G-28c", "O-10a"}),
        (KAFKA_2_3, {"G", "O"}, {"G-13c", "G-22a", "G-22b", "G-28c", "O-10a"}),
    ],
    ids=["2.8", "2.3"],
)
def test_an_older_broker_is_judged_by_what_it_serves(newest: Mapping[str, int], sections: set[str], of_later_versions: set[str]) -> None:
    """`of_later_versions`: checks that are about one version which came later, and say so in their sentences alone."""
    results = put_to(sections, newest)

    failed = [result for result in results if result.status is Status.FAILED]
    assert not failed, FORMATS["text"](failed)
    not_served = [result.check for result in results if result.status is Status.NOT_SERVED]
    assert {check.id for check in not_served if not has_to_be_left_out(check, newest)} == of_later_versions
