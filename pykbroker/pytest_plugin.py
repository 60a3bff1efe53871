"""The fixture `kafka_broker`: a broker in memory, each test its own. Costs nothing where it is not used: all else is imported on first use."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykbroker.testing import KafkaBroker


@pytest.fixture
def kafka_broker() -> "Iterator[KafkaBroker]":
    """A broker of this test's own, on a free port: `kafka_broker.bootstrap` goes into a client as bootstrap.servers."""
    from pykbroker.testing import KafkaBroker

    with KafkaBroker() as broker:
        yield broker
