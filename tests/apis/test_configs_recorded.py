"""The APIs of configs, against what Apache Kafka 4.3.0 answered on the wire; the state it was in is read out of its answers."""

import json
import lzma
from pathlib import Path

from pykbroker.config.configuration import our_defaults
from pykbroker.protocol.apis import API_BY_KEY
from pykbroker.protocol.codec import decode
from pykbroker.protocol.errors import ErrorCode
from pykbroker.protocol.header import read_request_header, read_response
from pykbroker.protocol.messages import ConfigRecord, CreateTopicsRequest

TOPIC, BROKER, BROKER_LOGGER = 2, 4, 8

GOLDEN = Path(__file__).parent.parent / "golden" / "exchanges.jsonl.xz"
TRIED_ELSEWHERE = ("Z-", "K-03b")
"""Recorded with access control lists, or with several brokers in several processes."""


def test_alterations_are_answered_as_recorded(new_cluster, ask):
    """Every recorded alteration by itself, on topics that are there where Kafka had them: codes and sentences are Kafka's."""
    cluster = new_cluster()
    exchanges = recorded("IncrementalAlterConfigs", "AlterConfigs")
    there = {
        asked.resource_name
        for _, _, request, response in exchanges
        for asked, answered in zip(request.resources, response.responses, strict=True)
        if asked.resource_type == TOPIC and answered.error_code != ErrorCode.UNKNOWN_TOPIC_OR_PARTITION and asked.resource_name
    }
    create(cluster, ask, *sorted(there))

    for exchange_id, version, request, response in exchanges:
        answer = ask(cluster, request, version)
        for ours, theirs in zip(answer.responses, response.responses, strict=True):
            told_alike(ours, theirs)
        assert answer == response, (exchange_id, request)
    assert len(exchanges) >= 80


def test_descriptions_are_answered_as_recorded(new_cluster, ask):
    """The state that Kafka was in is read out of its answer; given the same state, ours is the same to the last field."""
    compared = 0
    for exchange_id, version, request, response in recorded("DescribeConfigs"):
        if any(each.resource_type == BROKER_LOGGER for each in request.resources) or caught_in_between(response):
            continue
        cluster = as_it_was(new_cluster, ask, response)
        answer = ask(cluster, request, version)
        for ours, theirs in zip(answer.results, response.results, strict=True):
            in_our_own_words(ours, theirs)
            assert ours == theirs, exchange_id
            compared += len(theirs.configs)
    assert compared > 900


def as_it_was(new_cluster, ask, response):
    """A cluster in which the configs of a response have their values from where the response says."""
    static, records, topics = {}, [], set()
    for result in response.results:
        for config in result.configs:
            places = [(synonym.name, synonym.value, synonym.source) for synonym in config.synonyms]
            for name, value, source in places or [(config.name, config.value, config.config_source)]:
                if source == 4:
                    static[name] = value
                elif source == 2 or (source == 3 and (places or result.resource_type == BROKER)):
                    records.append((BROKER, "1" if source == 2 else "", name, "x" if value is None else value))
                elif source in {1, 7, 8} and (not places or name == config.name):
                    records.append((result.resource_type, result.resource_name, name, value))
        if result.resource_type == TOPIC and result.error_code == 0:
            topics.add(result.resource_name)
    cluster = new_cluster(static)
    create(cluster, ask, *sorted(topics - {"__consumer_offsets"}))
    if "__consumer_offsets" in topics:
        cluster.controller.create_internal_topic("__consumer_offsets")
    if all(result.resource_type == BROKER and not result.configs for result in response.results):
        records.append((BROKER, "", "min.insync.replicas", None))  # recorded where eligible leader replicas were off
    for resource_type, resource_name, name, value in records:
        cluster.config.replay(ConfigRecord(resource_type=resource_type, resource_name=resource_name, name=name, value=value))
    return cluster


def caught_in_between(response):
    """Recorded while a config of no meaning was being deleted: listed still, and no longer with a source."""
    return any(
        config.is_sensitive and config.config_type == 0 and config.config_source == 5
        for result in response.results
        for config in result.configs
    )


def in_our_own_words(ours, theirs):
    """Documentation and sentences are in our words: there where Kafka's are there. A default that is ours shows as given at the start."""
    told_alike(ours, theirs)
    if ours.resource_type == BROKER and not ours.resource_name:
        ours.configs.sort(key=lambda config: config.name)
        theirs.configs.sort(key=lambda config: config.name)
    for mine, other in zip(ours.configs, theirs.configs, strict=True):
        if mine.documentation and other.documentation is not None:
            mine.documentation = other.documentation
        if ours.resource_type == BROKER and other.config_source == 5 and other.name in our_defaults(1):
            started_with_our_default(other)


def told_alike(ours, theirs):
    """A sentence is there where Kafka has one; null and empty are told apart."""
    if ours.error_message and theirs.error_message:
        ours.error_message = theirs.error_message


def started_with_our_default(theirs):
    """What Kafka would have told of it, had it been started with the default that is ours."""
    theirs.value = our_defaults(1)[theirs.name].value
    theirs.config_source = 4
    if theirs.synonyms:
        theirs.synonyms.insert(0, type(theirs.synonyms[0])(name=theirs.name, value=theirs.value, source=4))


def recorded(*apis):
    """What was recorded of some APIs: (id, version, request, response, both decoded)."""
    exchanges = []
    with lzma.open(GOLDEN, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        if row["api"] not in apis or row["id"].startswith(TRIED_ELSEWHERE) or not row["response_hex"]:
            continue
        frame = bytes.fromhex(row["request_hex"])
        header, body = read_request_header(frame)
        api = API_BY_KEY[header.api_key]
        request = decode(api.request, header.api_version, frame, body)
        _, response = read_response(api.response, header.api_version, bytes.fromhex(row["response_hex"]))
        exchanges.append((row["id"], header.api_version, request, response))
    return exchanges


def create(cluster, ask, *names):
    ask(
        cluster,
        CreateTopicsRequest(topics=[CreateTopicsRequest.CreatableTopic(name=n, num_partitions=1, replication_factor=1) for n in names]),
        7,
    )
