"""The conformance suite, put to our own broker; and to one that answers "no error" to everything, which must not get through."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from pykbroker.compat.check import Check, all_checks
from pykbroker.compat.command import FORMATS
from pykbroker.compat.runner import Result, Status, run
from pykbroker.compat.target import Target
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.header import read_request_header, response_frame
from pykbroker.protocol.messages import ApiVersionsResponse
from pykbroker.testing import KafkaBroker

CHECKS = all_checks()
NEEDING_NOTHING = [check for check in CHECKS if check.needs is None]
SPOKEN_FOR_REAL = {"W-03b", "W-04", "W-05b", "W-08", "W-15", "W-16b", "W-22a", "A-18b"}
"""Checks of frames and of ApiVersions, which the agreeable broker has to get right to be asked anything at all; and A-18b, whose right answer is nothing
but defaults."""


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as running:
        yield running


def target_of(address: str) -> Target:
    host, _, port = address.rpartition(":")
    return Target(host, int(port))


def test_ids_are_used_once_by_each_name() -> None:
    names = [(check.id, check.function.__name__) for check in CHECKS]
    assert len(names) == len(set(names))
    assert all(check.sentence for check in CHECKS)


@pytest.mark.parametrize("check", NEEDING_NOTHING, ids=lambda check: f"{check.id} {check.name}")
def test_our_broker_passes(broker: KafkaBroker, check: Check) -> None:
    target = target_of(broker.bootstrap)
    (result,) = run([check], target)
    target.close()
    if result.status is Status.NOT_SERVED:
        pytest.skip(f"not served yet: {result.detail}")
    assert result.status is Status.PASSED, FORMATS["text"]([result])


class AgreeableBroker(threading.Thread):
    """Answers every request with defaults and no error; it says that it serves everything."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listening.getsockname()[1]  # noqa: UP031

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError), peer, peer.makefile("rb") as stream:
            while head := stream.read(4):
                frame = stream.read(struct.unpack(">i", head)[0])
                header, _ = read_request_header(frame)
                if header.api_key == 18:
                    version = ApiVersionsResponse.ApiVersion
                    keys = [version(api_key=key, min_version=0, max_version=30) for key in API_BY_KEY]
                    answer = ApiVersionsResponse(api_keys=keys)
                else:
                    answer = API_BY_KEY[header.api_key].response()
                peer.sendall(b"".join(response_frame(answer, header.api_version, header.correlation_id)))


@pytest.fixture(scope="module")
def agreeable() -> Iterator[AgreeableBroker]:
    running = AgreeableBroker()
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize(
    "check",
    [check for check in NEEDING_NOTHING if check.apis and check.id not in SPOKEN_FOR_REAL],
    ids=lambda check: f"{check.id} {check.name}",
)
def test_a_broker_that_only_agrees_does_not(agreeable: AgreeableBroker, check: Check) -> None:
    target = target_of(agreeable.address)
    (result,) = run([check], target)
    target.close()
    assert result.status is Status.FAILED, f"{check.id} passes on a broker that answers nothing in particular"


def test_reports_say_what_failed(broker: KafkaBroker) -> None:
    target = target_of(broker.bootstrap)
    results: list[Result] = run([check for check in NEEDING_NOTHING if check.section == "L"][:1], target)
    target.close()
    results[0].status, results[0].detail = Status.FAILED, "offset: expected 3, found 2"
    for name, shape in FORMATS.items():
        assert "offset: expected 3, found 2" in shape(results), name
