"""`pykbroker compat`: put any broker to the checks, and tell what it does as Apache Kafka 4.3 does, and what not."""

import argparse
import contextlib
import os
import pathlib
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pykbroker import __version__
from pykbroker.compat.check import SECTIONS, Check, all_checks
from pykbroker.compat.connection import Refused
from pykbroker.compat.expectations import NotServed, Unexpected
from pykbroker.compat.leftovers import Standing, differences, standing, take_away
from pykbroker.compat.page import as_html
from pykbroker.compat.progress import Progress
from pykbroker.compat.report import Shape, as_json, as_junit, as_markdown, as_text
from pykbroker.compat.runner import Result, Status, run_together
from pykbroker.compat.security import PLAINTEXT, Security, SettingsError, read_command_config
from pykbroker.compat.switch import RESTARTS, Command
from pykbroker.compat.target import Target
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import SaslHandshakeRequest
from pykbroker.protocol.wire import Malformed, Unencodable

FORMATS: Mapping[str, Shape] = {"text": as_text, "json": as_json, "md": as_markdown, "html": as_html, "junit": as_junit}
FIRST_ANSWER_S = 30.0
INTERRUPTED = 130
USED_SETTINGS = frozenset(
    [
        "security.protocol",
        "sasl.mechanism",
        "sasl.jaas.config",
        "sasl.username",
        "sasl.password",
        "ssl.truststore.location",
        "ssl.truststore.type",
        "ssl.truststore.certificates",
        "ssl.keystore.location",
        "ssl.keystore.type",
        "ssl.key.password",
        "ssl.endpoint.identification.algorithm",
    ]
)
_TLS_ALERT = repr(b"\x15\x03")[:-1]

EPILOG = """\
sections:
{sections}

The checks make topics, groups, transactional ids, users and ACLs with names of their own, and take them away again, except for the transactional
ids, which Kafka itself forgets after a week. Some change something of the whole cluster for a while (configs of brokers, quotas, levels of features):
use a broker on which nobody depends.

A failure shows what is expected, the field, its source (a KIP, the line of docs/semantics with that id) and the last requests (>) and responses (<),
a star before the one with the field; fields with their default values are left out.

Exit code: 0 where nothing failed, 1 where something did, 2 where no check could be run, 130 after Ctrl-C, which still tells what was found so far.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--bootstrap",
        "--bootstrap-server",
        required=True,
        metavar="HOST:PORT",
        help="the broker; of several, comma separated, the first that can be reached",
    )
    parser.add_argument("--command-config", metavar="FILE", help="how to log in, and whom to trust, as Kafka's own tools are told")
    parser.add_argument("--only", default="", metavar="F,FS,G-01", help="sections, or ids of single checks, comma separated (default: all)")
    parser.add_argument(
        "--offers",
        action="append",
        default=[],
        metavar="WHAT",
        help="what the broker has of what some checks need, such as 'three brokers' or group.max.size=3; can be given several times. Without it "
        "those checks are skipped, and the table tells what they need",
    )
    parser.add_argument(
        "--switch",
        metavar="COMMAND",
        help="stops and starts brokers: a command that is given 'stop', 'kill' or 'start' and the node id, and is back when that is done. Without it "
        "the checks of what survives a restart are skipped",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="checks at a time: most of their time is waiting (default: 1)")
    parser.add_argument("-o", "--output", choices=list(FORMATS), default="text", help="how the results are printed (default: text)")


def execute(arguments: argparse.Namespace) -> int:
    """Run the checks; 0 if none failed, 1 if one did, 2 if there is nothing to run, or nobody to run it on."""
    try:
        addresses = [_address(one) for one in _words(arguments.bootstrap)]
        chosen = _chosen(arguments.only)
        offered = _offered(arguments.offers) | ({RESTARTS} if arguments.switch else set())
        if arguments.jobs < 1:
            raise Unusable(f"--jobs {arguments.jobs} gets nothing done; write a number from 1 on.")
        security = _security(arguments.command_config)
        found = _first_that_answers(addresses, security)
    except Unusable as error:
        _say(f"{error}")
        return 2
    _say(_beginning(found, chosen, offered))
    return _judged(found, chosen, offered, arguments)


class Unusable(Exception):  # noqa: N818 - what the arguments are
    """What the command was given cannot be meant, or leads to no broker; says what can be done."""


def _judged(found: Target, chosen: Sequence[Check], offered: frozenset[str], arguments: argparse.Namespace) -> int:
    """Run the checks and print what came of them, also where somebody did not want to wait for the end."""
    progress = Progress(len(chosen), sys.stderr)
    seen: list[Result] = []
    targets: list[Target] = []

    def new_target() -> Target:
        switch = Command(arguments.switch) if arguments.switch else None
        targets.append(Target(found.host, found.port, found.security, switch))
        return targets[-1]

    def tell(result: Result) -> None:
        seen.append(result)
        progress(result)

    interrupted = False
    before = standing(found)
    started = datetime.now(UTC)
    try:
        with _interruptible(progress):
            results = run_together(chosen, new_target, jobs=arguments.jobs, offered=offered, seen=tell)
    except KeyboardInterrupt:
        interrupted = True
        order = {check: number for number, check in enumerate(chosen)}
        results = sorted(seen, key=lambda result: order[result.check])
    except (OSError, Unexpected, Malformed) as error:
        progress.close()
        _say(f"{_shown(found)} cannot be talked to any more: {error}")
        return 2
    progress.close()
    _tell_what_is_left(found, targets, before)
    about = f"{_shown(found)}, {started:%Y-%m-%d %H:%M} UTC, by pykbroker {__version__}"
    if interrupted:
        about += f"; interrupted after {len(results)} of {len(chosen)} checks"
        _say(f"Interrupted after {len(results)} of {len(chosen)} checks.")
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    print(FORMATS[arguments.output](results, about))
    if interrupted:
        return INTERRUPTED
    return 1 if any(result.status is Status.FAILED for result in results) else 0


def _tell_what_is_left(found: Target, targets: Sequence[Target], before: Standing) -> None:
    if left := take_away(found, [target.new_name().partition("-")[0] for target in targets]):
        _say(f"Left on the broker, since it does not delete them: {', '.join(left)}")
    for difference in differences(before, standing(found)):
        _say(f"The cluster is not as it was: {difference}.")


# -- what was asked for --------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _address(bootstrap: str) -> tuple[str, int]:
    host, _, port = bootstrap.rpartition(":")
    is_bare_ipv6 = ":" in host and not host.startswith("[")
    if not host or is_bare_ipv6 or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 1 << 16:
        raise Unusable(f"--bootstrap {bootstrap} is no address; write HOST:PORT, such as 127.0.0.1:9092 or [::1]:9092.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _chosen(only: str) -> list[Check]:
    """The checks of these sections and ids, however they are written. Raises Unusable for a word that is neither."""
    checks = all_checks()
    words = {word.casefold() for word in _words(only)}
    known = {name.casefold() for check in checks for name in (check.section, check.id)}
    if strangers := sorted(word for word in _words(only) if word.casefold() not in known):
        parts = sorted({check.id for word in strangers for check in checks if _is_part(check.id, word)})
        hint = f"There are {', '.join(parts)}." if parts else f"A check is named such as F-14a; sections are:\n{_sections()}"
        raise Unusable(f"--only {', '.join(strangers)}: no section and no check is named so. {hint}")
    return [one for one in checks if not words or words & {one.section.casefold(), one.id.casefold()}]


def _is_part(id_: str, word: str) -> bool:
    """Whether that check is F-14a where the word is F-14."""
    return id_.casefold().rstrip("abcdefghijklmnopqrstuvwxyz") == word.casefold()


def _sections() -> str:
    return "\n".join(f"  {letters:<3} {title}" for letters, title in SECTIONS.items())


def _offered(words: Sequence[str]) -> frozenset[str]:
    """What the broker is said to have. Raises Unusable for what no check asks for."""
    offered = frozenset(one.strip() for word in words for one in word.split(", ") if one.strip())
    known = frozenset(want for check in all_checks() for want in check.wants) - {RESTARTS}
    if RESTARTS in offered:
        raise Unusable(f"--offers {RESTARTS}: how the broker is stopped and started is told by --switch COMMAND.")
    if strangers := sorted(offered - known):
        raise Unusable(f"--offers {', '.join(strangers)}: no check needs that. What some need is {', '.join(sorted(known))}.")
    return offered


def _security(path: str | None) -> Security:
    if path is None:
        return PLAINTEXT
    try:
        security = read_command_config(path)
        if unused := _unused_settings(pathlib.Path(path).read_text(encoding="utf-8")):
            _say(f"Of {path}, these settings are not used here: {', '.join(unused)}.")
        return security
    except UnicodeDecodeError:
        raise Unusable(f"--command-config {path} is no text; it is to have lines such as security.protocol=SASL_SSL.") from None
    except OSError as error:
        raise Unusable(f"--command-config {path} cannot be read: {error.strerror}.") from None
    except SettingsError as error:
        raise Unusable(f"--command-config {path}: {error}.") from None


def _unused_settings(text: str) -> list[str]:
    """A misspelt security.protocol would be none, and nobody would know. What begins with a space goes on with the line before."""
    names = (re.split(r"[=:\s]", line, maxsplit=1)[0] for line in text.splitlines() if line and line[0] not in "#! \t")
    return [name for name in names if name not in USED_SETTINGS]


# -- the broker ----------------------------------------------------------------------------------------------------


def _first_that_answers(addresses: Sequence[tuple[str, int]], security: Security) -> Target:
    """A broker that says what it serves. Raises Unusable where none does."""
    if not addresses:
        raise Unusable("--bootstrap names no broker; write HOST:PORT, such as 127.0.0.1:9092.")
    problems = []
    for host, port in addresses:
        target = Target(host, port, security)
        target.time_is_over_at = time.monotonic() + FIRST_ANSWER_S
        try:
            target.look()
        except (OSError, Unexpected, Malformed, NotServed, Unencodable) as error:
            problems.append(f"No Kafka broker can be talked to at {_shown(target)}: {_problem(error, target)}")
        else:
            if problems:
                _say("\n".join(problems))
            _insist_on_login(target)
            return target
        finally:
            target.close()
    raise Unusable("\n".join(problems))


def _problem(error: Exception, target: Target) -> str:
    """What happened, and what it may mean."""
    if isinstance(error, Refused):
        takes_none = ErrorCode.ILLEGAL_SASL_STATE.name in f"{error}"
        return f"{error}. " + ("The port takes no login: its security.protocol is PLAINTEXT or SSL." if takes_none else "")
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    is_silent = time.monotonic() >= target.time_is_over_at - 1
    said = "it accepts the connection, but says nothing" if is_silent else f"{error}"
    found = getattr(error, "found", "")
    may_be_tls = is_silent or found.startswith(_TLS_ALERT) or "closed" in found
    if target.security.protocol.endswith("SSL") or not may_be_tls:
        return f"{said}."
    return f"{said}. If the port is one for TLS, say so with --command-config (security.protocol=SSL)."


def _insist_on_login(target: Target) -> None:
    """Before the login a broker says what it serves, and closes the connection when it is asked for anything else. Raises Unusable."""
    if not target.brokers and not target.security.logs_in and target.serves(SaslHandshakeRequest, 1):
        raise Unusable(
            f"{_shown(target)} answers nothing before a login; write how to log in into a file for --command-config (security.protocol=SASL_PLAINTEXT "
            "or SASL_SSL, sasl.mechanism, sasl.jaas.config)."
        )


def _shown(target: Target) -> str:
    return f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"


def _beginning(target: Target, chosen: Sequence[Check], offered: frozenset[str]) -> str:
    lines = f"{_shown(target)} serves {len(target.served)} APIs, and is put to {len(chosen)} checks."
    if alone := [check.id for check in chosen if check.alone and check.wants <= offered]:
        lines += f" What these do is felt by the whole cluster for a while: {', '.join(dict.fromkeys(alone))}."
    return lines


# -- who watches ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _interruptible(progress: Progress) -> Iterator[None]:
    """Ctrl-C, or SIGTERM, is a KeyboardInterrupt: checks that have begun are waited for. At the second nothing is waited for any more."""
    times = 0

    def stop(number: int, frame: object) -> None:
        nonlocal times
        times += 1
        if times > 1:
            os._exit(INTERRUPTED)
        progress.close()
        _say("Stopping when the checks that have begun have taken away what they made. Again to leave at once.")
        raise KeyboardInterrupt

    before: dict[signal.Signals, Callable[..., object] | int | None] = {}
    with contextlib.suppress(ValueError):  # signals are for the main thread only
        before = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """For `python -m pykbroker.compat.command`."""
    parser = argparse.ArgumentParser(
        prog="pykbroker compat",
        description="Put any broker to the checks, and tell what it does as Apache Kafka 4.3 does, and what not.",
        epilog=EPILOG.format(sections=_sections()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    return execute(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
