//! Topics are created, described, altered, grown and deleted.

use rdkafka::admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{Admin, Settings, admin, answer, in_time};
use crate::records::PARTITIONS;
use crate::scenario::{DEADLINE, Outcome, Run, check, until};

/// The topics that other scenarios produce to and consume from, by their compression.
const TOPICS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub fn create_all(run: &Run) -> Outcome {
    let admin = admin(run)?;
    let names = TOPICS.map(|name| run.name(name));
    let wanted = names.each_ref().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    all_done(answer(admin.create_topics(&wanted, &in_time())))?;
    for name in &names {
        let leaders = leaders_of(&admin, name)?;
        check!(leaders.len() == PARTITIONS as usize, "{name} is described with {} partitions", leaders.len());
    }
    Ok(())
}

/// A new topic, once it has its leaders; its name.
pub fn created(run: &Run, name: &str, partitions: i32, configs: Settings) -> Outcome<String> {
    let (admin, topic) = (admin(run)?, run.name(name));
    let mut wanted = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in configs {
        wanted = wanted.set(name, value);
    }
    all_done(answer(admin.create_topics([&wanted], &in_time())))?;
    until_led(&admin, &topic, partitions)?;
    Ok(topic)
}

/// Nothing failed, not for any topic either.
fn all_done(results: KafkaResult<Vec<TopicResult>>) -> Outcome {
    for result in results? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    Ok(())
}

fn until_led(admin: &Admin, topic: &str, partitions: i32) -> Outcome {
    until("the topic's leaders", || {
        let leaders = leaders_of(admin, topic)?;
        Ok(leaders.len() == partitions as usize && leaders.iter().all(|leader| *leader >= 0))
    })
}

/// The leader of each partition.
fn leaders_of(admin: &Admin, topic: &str) -> KafkaResult<Vec<i32>> {
    let found = admin.inner().fetch_metadata(Some(topic), DEADLINE)?;
    Ok(found.topics()[0].partitions().iter().map(|one| one.leader()).collect())
}

fn listed(admin: &Admin) -> KafkaResult<Vec<String>> {
    let found = admin.inner().fetch_metadata(None, DEADLINE)?;
    Ok(found.topics().iter().map(|one| one.name().to_string()).collect())
}

/// The topics are deleted, and no longer listed.
pub fn dropped(admin: &Admin, topics: &[&str]) -> Outcome {
    all_done(answer(admin.delete_topics(topics, &in_time())))?;
    until("the topics' end", || Ok(!listed(admin)?.iter().any(|one| topics.contains(&&**one))))
}

pub fn administer(run: &Run) -> Outcome {
    let topic = created(run, "admin", 2, &[("retention.ms", "3600000")])?;
    let admin = admin(run)?;
    check!(listed(&admin)?.contains(&topic), "the topic is not listed");
    let before = retention(&admin, &topic)?;
    check!(before == "3600000", "retention.ms is {before}");
    let altered = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "7200000");
    for result in answer(admin.alter_configs([&altered], &in_time()))? {
        result.map_err(|(_, code)| format!("not altered: {code}"))?;
    }
    until("the altered config", || Ok(retention(&admin, &topic)? == "7200000"))?;
    let more = NewPartitions::new(&topic, 5);
    all_done(answer(admin.create_partitions([&more], &in_time())))?;
    until_led(&admin, &topic, 5)?;
    let again = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let twice = answer(admin.create_topics([&again], &in_time()))?;
    let refused = matches!(&twice[..], [Err((_, RDKafkaErrorCode::TopicAlreadyExists))]);
    check!(refused, "created twice: {twice:?}");
    dropped(&admin, &[&topic])
}

fn retention(admin: &Admin, topic: &str) -> Outcome<String> {
    for resource in answer(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &in_time()))? {
        let resource = resource.map_err(KafkaError::AdminOp)?;
        if let Some(value) = resource.get("retention.ms").and_then(|entry| entry.value.clone()) {
            return Ok(value);
        }
    }
    Err("retention.ms is not described".into())
}

/// The group of two and the topics, which are then no longer listed.
pub fn delete_all(run: &Run) -> Outcome {
    let (admin, group) = (admin(run)?, run.name("two"));
    for result in answer(admin.delete_groups(&[&group], &in_time()))? {
        result.map_err(|(group, code)| format!("{group}: {code}"))?;
    }
    let left = admin.inner().fetch_group_list(None, DEADLINE)?;
    check!(!left.groups().iter().any(|one| one.name() == group), "the group is listed after it was deleted");
    let names = TOPICS.map(|name| run.name(name));
    dropped(&admin, &names.each_ref().map(String::as_str))
}
