"""What the runner, its reports and its command make of checks; and how the brokers that they need are put together."""

import io
import json
import pathlib
import socket
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from compat.fleets import MOST_SECOND_TRIES, fleets, with_second_tries
from pykbroker.compat import command, runner
from pykbroker.compat.check import Check, Needs, Settings
from pykbroker.compat.command import FORMATS, main
from pykbroker.compat.connection import Connection, Exchange
from pykbroker.compat.expectations import NotServed, Unexpected, expect
from pykbroker.compat.leftovers import BROKER, differences, take_away
from pykbroker.compat.progress import Progress
from pykbroker.compat.report import by_section, reasons
from pykbroker.compat.runner import TIME_IS_OVER, Result, Status, run, run_together
from pykbroker.compat.target import Target, Topic
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_request_header, response_frame
from pykbroker.protocol.messages import (
    ApiVersionsResponse,
    ConsumerGroupHeartbeatRequest,
    FindCoordinatorRequest,
    IncrementalAlterConfigsRequest,
    MetadataRequest,
)
from pykbroker.testing import KafkaBroker


def check_of(
    function=lambda target: None, *, id_: str = "G-01", needs: Needs = None, alone: bool = False, apis: tuple[str, ...] = ()
) -> Check:
    return Check(id_, function, apis, (), needs, alone)


def needing(*pairs: tuple[str, str]) -> Check:
    return check_of(needs=Settings(pairs))


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with KafkaBroker() as running:
        yield running


def target_of(broker: KafkaBroker) -> Target:
    host, _, port = broker.bootstrap.rpartition(":")
    return Target(host, int(port))


@pytest.fixture
def target(broker: KafkaBroker) -> Iterator[Target]:
    made = target_of(broker)
    yield made
    made.close()


# -- what brokers are started -------------------------------------------------------------------------------------


def test_settings_that_go_together_share_a_start() -> None:
    checks = [
        needing(("log.cleaner.backoff.ms", "200")),
        needing(("group.min.session.timeout.ms", "100")),
        needing(("log.cleaner.backoff.ms", "200"), ("log.retention.check.interval.ms", "300")),
    ]
    (only,) = fleets(checks)
    assert only.checks == checks
    assert only.offers >= checks[2].wants


def test_settings_that_contradict_each_other_do_not() -> None:
    checks = [needing(("log.cleaner.backoff.ms", "200")), needing(("log.cleaner.backoff.ms", "300"))]
    assert [one.checks for one in fleets(checks)] == [[checks[0]], [checks[1]]]


def test_limits_are_kept_from_checks_that_do_not_want_them() -> None:
    quick, full, idle = (
        needing(("log.cleaner.backoff.ms", "200")),
        needing(("group.max.size", "3")),
        needing(("connections.max.idle.ms", "4000")),
    )
    found = fleets([quick, full, idle])
    assert sorted(one.checks[0].needs.values[0][0] for one in found) == [
        "connections.max.idle.ms",
        "group.max.size",
        "log.cleaner.backoff.ms",
    ]
    assert [one.is_rough for one in found if full in one.checks] == [True]
    lenient = check_of(needs=("an authorizer", Settings((("allow.everyone.if.no.acl.found", "true"),))))
    assert len(fleets([check_of(needs="an authorizer"), lenient])) == 2


def test_shapes_and_features_are_kept_apart() -> None:
    three, secure = check_of(needs="three brokers"), check_of(needs=("an authorizer", "a SASL listener"))
    older = check_of(needs="feature transaction.version=1")
    found = fleets([three, secure, older, check_of(needs="a broker on the moon")])
    assert {(one.nodes, one.secure, tuple(one.features.items())) for one in found} == {
        (3, False, ()),
        (1, True, ()),
        (1, False, (("transaction.version", "1"),)),
    }
    assert all(check.wants <= one.offers for one in found for check in one.checks)


# -- running -------------------------------------------------------------------------------------------------------


def test_what_fails_among_others_is_tried_once_more_by_itself() -> None:
    late, wrong = check_of(), check_of(id_="G-02")
    first = [Result(late, Status.FAILED, detail="late"), Result(wrong, Status.FAILED, detail="wrong")]
    again = {late: Result(late, Status.PASSED), wrong: Result(wrong, Status.FAILED, detail="wrong again")}
    said: list[str] = []
    found = with_second_tries(first, lambda check: [again[check]], said.append)
    assert [(result.check, result.status, result.detail) for result in found] == [
        (late, Status.PASSED, ""),
        (wrong, Status.FAILED, "wrong again"),
    ]
    assert len(said) == 1
    assert "late" in said[0]


def test_a_broker_that_fails_everywhere_gets_no_second_try() -> None:
    first = [Result(check_of(), Status.FAILED) for _ in range(MOST_SECOND_TRIES + 1)]
    assert with_second_tries(first, pytest.fail, pytest.fail) == first


def test_what_is_missing_is_named(target: Target) -> None:
    wanted = check_of(needs=("three brokers", Settings((("a.b", "1"), ("c.d", "2")))))
    (result,) = run([wanted], target, offered=frozenset({"a.b=1"}))
    assert (result.status, result.detail) == (Status.SKIPPED, "needs c.d=2, three brokers")


def test_an_api_that_is_not_served_is_no_failure(target: Target) -> None:
    def turns_out_to_need_it(target: Target) -> None:
        target.served.pop(ConsumerGroupHeartbeatRequest.API_KEY, None)
        target.connect().ask(ConsumerGroupHeartbeatRequest(group_id="g"), 0)

    def sends_it_now_and_reads_later(target: Target) -> None:
        target.served.pop(ConsumerGroupHeartbeatRequest.API_KEY, None)
        connection, request = target.connect(), ConsumerGroupHeartbeatRequest(group_id="g")
        connection.send(request, 0)
        connection.receive(request, 0)

    def says_so(target: Target) -> None:
        raise NotServed("ShareFetch")

    results = run([check_of(turns_out_to_need_it), check_of(sends_it_now_and_reads_later), check_of(says_so)], target)
    assert [(one.status, one.detail) for one in results] == [
        (Status.NOT_SERVED, "ConsumerGroupHeartbeat 0"),
        (Status.NOT_SERVED, "ConsumerGroupHeartbeat 0"),
        (Status.NOT_SERVED, "ShareFetch"),
    ]


def test_a_failure_tells_the_way_to_the_field(target: Target) -> None:
    def fails(target: Target) -> None:
        """It has a coordinator. KIP-699, KIP-32."""
        answer = target.ask(FindCoordinatorRequest(coordinator_keys=["a", "b"]), 4)
        expect(answer.coordinators[1], error_code=ErrorCode.NONE, key="c")

    (result,) = run([check_of(fails)], target)
    assert (result.status, result.field) == (Status.FAILED, "FindCoordinatorResponse.coordinators[1].key")
    assert result.check.sources == ["KIP-32", "KIP-699", "semantics G-01"]
    for name, shape in FORMATS.items():
        shown = shape([result])
        assert all(word in shown for word in ("FindCoordinatorRequest", "coordinators[1].key", "KIP-699")), name


def test_the_exchange_with_the_field_is_marked(target: Target) -> None:
    def fails(target: Target) -> None:
        """It has a coordinator."""
        first = target.ask(FindCoordinatorRequest(coordinator_keys=["a"]), 4)
        target.ask(FindCoordinatorRequest(coordinator_keys=["b"]), 4)
        expect(first.coordinators[0], key="c")

    (result,) = run([check_of(fails)], target)
    assert result.looked_at == 0
    marked = [line for line in FORMATS["text"]([result]).splitlines() if line.startswith("  *")]
    assert all("'a'" in line for line in marked)
    assert len(marked) == 2
    assert FORMATS["html"]([result]).count("<details class='exchange' open>") == 1


def test_an_answer_that_makes_a_check_stumble_is_told_with_the_line(target: Target) -> None:
    (stumbled,) = run([check_of(lambda target: target.produce(Topic("", bytes(16), 0), values=None))], target)  # type: ignore[arg-type]
    assert stumbled.detail.startswith("TypeError: ")
    assert "at `" in stumbled.detail


def test_a_broker_that_is_gone_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GONE_AFTER_S", 0.0)
    with KafkaBroker() as dying:
        target = target_of(dying)

        def dies(target: Target) -> None:
            dying.stop()
            target.look()

        results = run([check_of(), check_of(dies, id_="G-02"), check_of(id_="G-03"), check_of(id_="G-04")], target)
        target.close()
        dying.start()
    assert [one.status for one in results] == [Status.PASSED, Status.FAILED, Status.SKIPPED, Status.SKIPPED]
    assert results[3].detail.endswith("since G-02")


def test_what_is_no_kafka_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1 << 16)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        exchanges: list[Exchange] = []
        connection = Connection("127.0.0.1", server.getsockname()[1], exchanges.append)
        with pytest.raises(Unexpected, match="b'HTTP'"):
            connection.ask(FindCoordinatorRequest(coordinator_keys=["a"]), 4)
        connection.close()
        answering.join()
    assert [one.answer for one in exchanges] == ["b'HTTP'"]


def test_what_checks_leave_is_taken_away(broker: KafkaBroker, target: Target) -> None:
    target.look()
    name = target.new_name("topic")
    for forgotten in (name, f"__{name}", "somebody-elses"):
        broker.create_topic(forgotten)

    assert take_away(target_of(broker), [name.partition("-")[0]]) == []

    there = {topic.name for topic in target.metadata().topics}
    assert "somebody-elses" in there
    assert not {name, f"__{name}"} & there


def test_who_interrupts_is_told_what_was_found(
    broker: KafkaBroker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupts(target: Target) -> None:
        raise KeyboardInterrupt

    checks = [check_of(), check_of(interrupts, id_="G-02"), check_of(id_="G-03"), check_of(id_="G-04", alone=True)]
    monkeypatch.setattr(command, "all_checks", lambda: checks)

    assert main(["--bootstrap", broker.bootstrap, "-o", "json"]) == 130

    shown = capsys.readouterr()
    assert [row["id"] for row in json.loads(shown.out)["checks"]] == ["G-01"]
    assert "after 1 of 4 checks" in shown.err


def test_what_the_whole_cluster_feels_is_told_before(broker: KafkaBroker, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--bootstrap", broker.bootstrap, "--only", "K-01c,L-01"])
    assert "whole cluster for a while: K-01c." in capsys.readouterr().err


def test_what_is_set_for_the_cluster_and_left_is_told(
    broker: KafkaBroker, target: Target, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sets_it(target: Target) -> None:
        change = IncrementalAlterConfigsRequest.AlterableConfig(name="message.max.bytes", value="1000001")
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(resource_type=BROKER, configs=[change])
        expect(target.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses[0], error_code=ErrorCode.NONE)

    monkeypatch.setattr(command, "all_checks", lambda: [check_of(sets_it, alone=True)])
    assert main(["--bootstrap", broker.bootstrap]) == 0
    target.look()
    target.unset_after(BROKER, "", "message.max.bytes")
    target.clean_up()

    assert "config message.max.bytes=1000001 of all brokers is set now" in capsys.readouterr().err
    assert differences({"quota": frozenset("a")}, {"quota": frozenset("b"), "feature": frozenset("c")}) == [
        "quota a was set",
        "quota b is set now",
    ]


def test_no_broker_hangs_the_run(target: Target) -> None:
    (result,) = run([check_of()], target, ends_at=0)
    assert (result.status, result.detail) == (Status.SKIPPED, TIME_IS_OVER)


def test_checks_of_the_whole_cluster_run_alone_and_last(broker: KafkaBroker) -> None:
    running = threading.Semaphore(4)
    together: list[bool] = []

    def lone(target: Target) -> None:
        together.append(not all(running.acquire(blocking=False) for _ in range(4)))
        running.release(4)

    def any_other(target: Target) -> None:
        with running:
            target.look()

    checks = [
        check_of(lone, alone=True),
        *(check_of(any_other, id_=f"G-{number}") for number in range(2, 12)),
        check_of(lone, id_="G-12", alone=True),
    ]
    results = run_together(checks, lambda: target_of(broker), jobs=4)
    assert [one.check for one in results] == checks
    assert {one.status for one in results} == {Status.PASSED}
    assert together == [False, False]


# -- telling -------------------------------------------------------------------------------------------------------

RESULTS = [
    Result(check_of(id_="F-01"), Status.PASSED, 0.25),
    Result(check_of(id_="F-02"), Status.SKIPPED, detail="needs three brokers"),
    Result(check_of(id_="G-01"), Status.NOT_SERVED, detail="ShareFetch"),
    Result(check_of(id_="G-02"), Status.FAILED, 1.5, "offset: expected 3, found <2>", 4),
]


def test_sections_add_up() -> None:
    counts = by_section(RESULTS)
    assert list(counts) == ["F", "G", "all"]
    assert [counts["all"][status] for status in Status] == [1, 1, 1, 1]
    assert counts["G"][Status.FAILED] == 1


def test_machines_can_read_it() -> None:
    rows = json.loads(FORMATS["json"](RESULTS))["checks"]
    assert [(row["id"], row["section"], row["status"], row["seconds"]) for row in rows] == [
        ("F-01", "F", "passed", 0.25),
        ("F-02", "F", "skipped", 0.0),
        ("G-01", "G", "not served", 0.0),
        ("G-02", "G", "failed", 1.5),
    ]
    suite = ET.fromstring(FORMATS["junit"](RESULTS))
    assert (suite.get("tests"), suite.get("failures"), len(suite.findall("testcase/skipped"))) == ("4", "1", 2)
    assert suite.get("skipped") == "2"


def test_the_page_has_failures_first_and_needs_nothing_else() -> None:
    page = FORMATS["html"](RESULTS, "127.0.0.1:9092, today")
    assert page.index("expected 3, found &lt;2&gt;") < page.index("By section") < page.index("Every check")
    assert "127.0.0.1:9092, today" in page
    assert not any(word in page for word in ("<script", "http://", "https://", "url("))


def test_what_xml_cannot_have_is_no_obstacle() -> None:
    odd = Result(check_of(), Status.FAILED, detail="found \0 \ud800 ]]> &")
    ET.fromstring(FORMATS["junit"]([odd]))
    for shape in FORMATS.values():
        shape([odd]).encode("utf-8", "backslashreplace")


def test_why_others_were_not_run_is_counted() -> None:
    results = [
        Result(check_of(), Status.SKIPPED, detail="needs a.b=1, three brokers"),
        Result(check_of(id_="G-02"), Status.SKIPPED, detail="needs three brokers"),
        Result(check_of(id_="G-03"), Status.SKIPPED, detail=TIME_IS_OVER),
        Result(check_of(id_="G-04"), Status.NOT_SERVED, detail="ShareFetch, EndTxn"),
    ]
    needs, over, unserved = reasons(results)
    assert "three brokers (2), a.b=1 (1)" in needs
    assert "--offers" in needs
    assert over == "Skipped: 1. The time for the whole suite was over."
    assert unserved == "Not served: ShareFetch (1), EndTxn (1)."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_fills_up_where_somebody_watches() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for output in (terminal, pipe):
        progress = Progress(len(RESULTS), output)
        for result in RESULTS:
            progress(result)
        progress.close()
    shown = terminal.getvalue().split("\r")
    assert [line.count("█") for line in shown[1:5]] == [10, 20, 30, 40]
    assert "4/4, 1 failed" in shown[4]
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bootstrap", "nowhere"], "HOST:PORT"),
        (["--bootstrap", "::1:9092"], "[::1]:9092"),
        (["--bootstrap", " , "], "names no broker"),
        (["--bootstrap", "127.0.0.1:9", "--only", "F,NO"], "--only NO"),
        (["--bootstrap", "127.0.0.1:9", "--only", "f-14"], "F-14a, F-14b"),
        (["--bootstrap", "127.0.0.1:9", "--offers", "three brothers"], "three brokers"),
        (["--bootstrap", "127.0.0.1:9", "--offers", "restarts"], "--switch"),
        (["--bootstrap", "127.0.0.1:9", "--jobs", "0"], "--jobs 0"),
        (["--bootstrap", "[::1]:9"], "[::1]:9"),
        (["--bootstrap", "127.0.0.1:9", "--command-config", "/no/such/file"], "/no/such/file"),
        (["--bootstrap", "127.0.0.1:9"], "No Kafka broker"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_broker_that_wants_a_login_first_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    served = [ApiVersionsResponse.ApiVersion(api_key=key, max_version=9) for key in (MetadataRequest.API_KEY, 17, 18)]

    def answer(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer, peer.makefile("rb") as stream:
            header, _ = read_request_header(stream.read(int.from_bytes(stream.read(4), "big")))
            peer.sendall(b"".join(response_frame(ApiVersionsResponse(api_keys=served), header.api_version, header.correlation_id)))
            stream.read(4)

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=answer, args=(server,))
        answering.start()
        assert main(["--bootstrap", f"127.0.0.1:{server.getsockname()[1]}"]) == 2
        answering.join()

    assert "before a login" in capsys.readouterr().err


def test_settings_that_are_not_used_are_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "client.properties"
    settings.write_text('# mine\nsecruity.protocol=SSL\nsasl.jaas.config: \\\n  a.b required x="y";\nclient.id = me\n')
    assert main(["--bootstrap", "127.0.0.1:9", "--command-config", str(settings)]) == 2
    assert "not used here: secruity.protocol, client.id." in capsys.readouterr().err


@pytest.mark.parametrize("settings", [b"\xff\xfe", b"security.protocol=TELEPATHY"])
def test_a_file_that_cannot_be_used_is_told_by_its_name(
    settings: bytes, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "client.properties"
    file.write_bytes(settings)
    assert main(["--bootstrap", "127.0.0.1:9", "--command-config", str(file)]) == 2
    assert f"--command-config {file}" in capsys.readouterr().err


def test_the_command_ends_with_what_was_found(broker: KafkaBroker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bootstrap", f"127.0.0.1:9,{broker.bootstrap}", "--only", "l-01, L-02", "--jobs", "2", "-o", "json"]) == 0
    assert {row["status"] for row in json.loads(capsys.readouterr().out)["checks"]} == {"passed"}
