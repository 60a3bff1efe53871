"""Make protocol/schema/*.kmsg from the message definitions that Kafka's jars carry as JSON.

    python scripts/convert_schemas.py FOLDER_WITH_KAFKA_JARS

A schema file is one block per message. Its head is `Name kind key versions flexible versions [unstable]`, where kind is request, response,
header, data, or the kind of record, and key the API key or record type (`-` where there is none). A field is a line, indented by its
depth: `name type [versions] [null:versions] [tagN:versions] [=default] [inflexible] [ignorable]`; left out, versions are all versions.
A new Kafka release is a readable diff of these files.
"""

import json
import pathlib
import re
import sys
import zipfile
from collections.abc import Iterator

SCHEMA = pathlib.Path(__file__).parent.parent / "protocol" / "schema"

RECORD_FILES = {
    "kafka-group-coordinator": "consumer_offsets",
    "kafka-transaction-coordinator": "transaction_state",
    "kafka-share-coordinator": "share_group_state",
    "kafka-metadata": "cluster_metadata",
    "kafka-raft": "quorum_state",
    "kafka-storage": "storage",
}
"""Which jar's records go into which file; the clients' jar is sorted by name below."""

CLIENT_FILES = {"header": r".*Header", "consumer_protocol": r"ConsumerProtocol.*", "control_records": r".*"}


def main(jars: pathlib.Path) -> None:
    """Write all schema files anew."""
    for old in SCHEMA.glob("*.kmsg"):
        old.unlink()
    files: dict[str, list[str]] = {}
    for jar in sorted(jars.glob("kafka-*.jar")):
        family = re.sub(r"-\d.*", "", jar.name)
        if family not in {*RECORD_FILES, "kafka-clients"}:
            continue
        for message in definitions(jar):
            if message["validVersions"] != "none":
                files.setdefault(file_of(family, message), []).append("\n".join(block(message)))
    for name, blocks in sorted(files.items()):
        (SCHEMA / f"{name}.kmsg").write_text("\n\n".join(sorted(blocks, key=order)) + "\n")
    print(len(files), "schema files")


def definitions(jar: pathlib.Path) -> Iterator[dict]:
    """Every message definition in a jar."""
    with zipfile.ZipFile(jar) as archive:
        for name in sorted(archive.namelist()):
            if re.fullmatch(r"(common/)?(message|metadata)/\w+\.json", name):
                text = re.sub(r"/\*.*?\*/", "", archive.read(name).decode(), flags=re.DOTALL)
                yield json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))


def file_of(family: str, message: dict) -> str:
    """The name of the schema file that a message belongs to, without its suffix."""
    if message["type"] in {"request", "response"}:
        return f"{message['apiKey']:02d}_{snake(re.sub('(Request|Response)$', '', message['name']))}"
    if family in RECORD_FILES:
        return RECORD_FILES[family]
    return next(name for name, pattern in CLIENT_FILES.items() if re.fullmatch(pattern, message["name"]))


def order(text: str) -> tuple[bool, str]:
    """Requests before responses, everything else by name."""
    name = text.split(maxsplit=1)[0]
    return name.endswith("Response"), name


def block(message: dict) -> Iterator[str]:
    """The lines of one message."""
    common = {struct["name"]: struct["fields"] for struct in message.get("commonStructs", [])}
    head = [
        message["name"],
        message["type"],
        str(message.get("apiKey", "-")),
        message["validVersions"],
        "flexible",
        message["flexibleVersions"],
    ]
    if message.get("latestVersionUnstable"):
        head.append("unstable")
    yield " ".join(head)
    yield from lines(message["fields"], common, depth=1)


def lines(fields: list[dict], common: dict[str, list[dict]], depth: int) -> Iterator[str]:
    """One line a field; the fields of a struct follow it, deeper by one."""
    for field in fields:
        parts = ["  " * depth + snake(field["name"]), field["type"]]
        versions = field.get("versions") or field["taggedVersions"]
        if versions != "0+":
            parts.append(versions)
        if "nullableVersions" in field:
            parts.append("null:" + field["nullableVersions"])
        if "tag" in field:
            parts.append(f"tag{field['tag']}:{field['taggedVersions']}")
        if field.get("default") is not None:  # null itself counts as none given; only the string "null" is a null
            default = field["default"]
            parts.append("=" + (default or '""' if isinstance(default, str) else json.dumps(default)))
        if field.get("flexibleVersions") == "none":
            parts.append("inflexible")
        if field.get("ignorable"):
            parts.append("ignorable")
        yield " ".join(parts)
        nested = field.get("fields") or common.get(field["type"].removeprefix("[]"))
        if nested:
            yield from lines(nested, common, depth + 1)


def snake(name: str) -> str:
    """FetchOffset -> fetch_offset, ISRNodes -> isr_nodes."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
