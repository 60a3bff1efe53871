"""Kafka's own message classes and our codec say the same, byte for byte and field for field, in both directions.

    python -m compat.codec.java_codec [--samples 20] [--seed N]

1. Every message in every version, with random content: Kafka decodes our bytes, encodes them to the same bytes, and its JSON shows the values we sent.
2. Every message in every version, made by Kafka with random content: we decode its bytes, and encode them to the same bytes.
3. The error codes, their names, and which of them a client may retry, are Kafka's.

Skipped, and says so, where there is no Java.
"""

import argparse
import base64
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from compat.oracle import kafka as oracle
from pykbroker.protocol import messages
from pykbroker.protocol.codec import decode, encode
from pykbroker.protocol.definitions import Field, message_names
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.messages import Message, Struct
from pykbroker.protocol.samples import sample
from scripts.convert_schemas import snake

PROGRAM = pathlib.Path(__file__).parent / "KafkaCodec.java"
WRONG_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description="Kafka's own message classes and our codec, side by side.")
    parser.add_argument("--samples", type=int, default=20, help="of each message in each version, in each direction")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    missing = oracle.missing() or (None if shutil.which("javac") else "there is no javac on this machine")
    if missing:
        print(f"SKIPPED: Kafka's own classes cannot judge our codec here, for {missing}")
        return 0
    print("seed", options.seed)
    source = random.Random(options.seed)
    wrong = [*error_codes(), *kafka_reads_ours(source, options.samples), *we_read_kafkas(source, options.samples)]
    for sentence in wrong[:WRONG_SHOWN]:
        print("WRONG:", sentence[:2000])
    print(f"{len(wrong)} differences" if wrong else "Messages: each reads and writes what the other does, byte for byte.")
    return 1 if wrong else 0


def every_version() -> Iterator[tuple[type[Message], int]]:
    for name in message_names():
        message = getattr(messages, name)
        for version in message.VERSIONS:
            yield message, version


def ask(questions: list[str]) -> list[str]:
    """The program's answers, one for each question."""
    with tempfile.TemporaryDirectory() as folder:
        jars = f"{oracle.install()}/*"
        subprocess.run(["javac", "-cp", jars, "-d", folder, str(PROGRAM)], check=True)
        command = ["java", "-Xmx512m", "-cp", f"{folder}:{jars}", "KafkaCodec"]
        ran = subprocess.run(command, input="\n".join(questions) + "\n", capture_output=True, text=True, encoding="utf-8", check=True)
    answers = ran.stdout.splitlines()
    if len(answers) != len(questions):
        raise SystemExit(f"{len(questions)} questions, {len(answers)} answers: {ran.stderr[-2000:]}")
    return answers


def error_codes() -> Iterator[str]:
    kafkas = {tuple(one.split(" ")) for one in ask(["errors"])[0].split(",")}
    ours = {(str(int(code)), code.name, str(code.retriable).lower()) for code in ErrorCode}
    for code in sorted(kafkas ^ ours):
        yield f"error code {' '.join(code)} is only {'Kafka' if code in kafkas else 'our'}'s"
    print(len(kafkas), "error codes")


def kafka_reads_ours(source: random.Random, samples: int) -> Iterator[str]:
    sent = [(sample(source, message, version), version) for message, version in every_version() for _ in range(samples)]
    encoded = [encode(message, version).hex() for message, version in sent]
    questions = [f"echo {type(message).__name__} {version} {text}" for (message, version), text in zip(sent, encoded, strict=True)]
    for (message, version), text, answer in zip(sent, encoded, ask(questions), strict=True):
        again, _, shown = answer.partition("\t")
        if again != text:
            yield f"{type(message).__name__} version {version}: we wrote {text}, Kafka {again} for {message}"
            continue
        for difference in differences(message, message.SCHEMA.fields, json.loads(shown)):
            yield f"{type(message).__name__} version {version}: {difference}"
    print(len(sent), "of our messages read by Kafka")


def we_read_kafkas(source: random.Random, samples: int) -> Iterator[str]:
    asked = [(message, version) for message, version in every_version() for _ in range(samples)]
    questions = [f"make {message.__name__} {version} {source.randrange(1 << 48)}" for message, version in asked]
    contents = set()
    for (message, version), question, answer in zip(asked, questions, ask(questions), strict=True):
        if answer.startswith("!"):
            yield f"{question}: {answer}"
            continue
        made = bytes.fromhex(answer)
        contents.add(made)
        try:
            again = encode(decode(message, version, made), version)
        except ValueError as error:
            yield f"{question}: {error} in {answer}"
            continue
        if again != made:
            yield f"{question}: Kafka wrote {answer}, we {again.hex()}"
    print(len(asked), "of Kafka's messages read by us,", len(contents), "of them different")


def differences(ours: Struct, fields: list[Field], theirs: dict[str, object]) -> Iterator[str]:
    """Where Kafka's JSON shows another value than ours. It shows neither unknown tags nor records."""
    by_name = {one.name: one for one in fields}
    for key, shown in theirs.items():
        one = by_name[snake(key)]
        value = getattr(ours, one.name)
        if one.fields and value is not None:
            pairs = zip(value, shown, strict=True) if one.is_array else [(value, shown)]
            for inner, shown_inner in pairs:
                yield from differences(inner, one.fields, shown_inner)
        elif one.type != "records" and plain(one, value) != shown:
            yield f"{one.name} is {value!r}, Kafka says {shown!r}"


def plain(one: Field, value: object) -> object:
    """A value as Kafka's JSON has it."""
    if isinstance(value, list):
        return [plain(one, item) for item in value]
    if value is None:
        return None
    if one.type == "uuid":
        return base64.urlsafe_b64encode(value).decode().rstrip("=")
    if one.type == "bytes":
        return base64.b64encode(value).decode()
    return value


if __name__ == "__main__":
    sys.exit(main())
