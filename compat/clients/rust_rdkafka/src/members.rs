//! Members of a group share a topic out: eagerly, cooperatively, with a static member, and by the new protocol.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Message, TopicPartitionList};

use crate::clients::{Settings, admin, committed, consumer_told, take};
use crate::described::described;
use crate::records::{PARTITIONS, RECORDS};
use crate::scenario::{Outcome, Run, check, until};

const HALF: usize = PARTITIONS as usize / 2;

/// What a member was told.
#[derive(Clone, Default)]
struct Share {
    has: BTreeSet<i32>,
    lost: Vec<i32>,
    times_told: usize,
}

#[derive(Default)]
struct Told {
    share: Mutex<Share>,
}

impl ClientContext for Told {}

impl ConsumerContext for Told {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let numbers = |list: &TopicPartitionList| list.elements().iter().map(|one| one.partition()).collect::<Vec<_>>();
        let mut share = self.share.lock().unwrap();
        share.times_told += 1;
        match rebalance {
            Rebalance::Assign(partitions) => share.has.extend(numbers(partitions)),
            Rebalance::Revoke(partitions) => {
                let gone = numbers(partitions);
                share.has.retain(|number| !gone.contains(number));
                share.lost.extend(gone);
            }
            Rebalance::Error(_) => {}
        }
    }
}

/// One member: it takes records and commits them when it is asked to. It leaves when it is dropped.
struct Member {
    consumer: BaseConsumer<Told>,
    seen: HashSet<(i32, i64)>,
}

impl Member {
    fn join(run: &Run, topic: &str, group: &str, settings: Settings) -> Outcome<Member> {
        let consumer = consumer_told(&run.bootstrap, group, settings, Told::default())?;
        consumer.subscribe(&[topic])?;
        Ok(Member { consumer, seen: HashSet::new() })
    }

    fn share(&self) -> Share {
        self.consumer.context().share.lock().unwrap().clone()
    }

    fn take(&mut self) -> Outcome {
        for message in take(&self.consumer, 500, Duration::from_millis(200))? {
            self.seen.insert((message.partition(), message.offset()));
        }
        Ok(())
    }

    /// A commit may come to nothing: because there is nothing new, or because a rebalance has begun.
    fn commit(&self) -> Outcome {
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Err(KafkaError::ConsumerCommit(
                RDKafkaErrorCode::NoOffset
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::StaleMemberEpoch,
            )) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// A first member that has all partitions, then a second one: both have half of them, and saw all records.
fn share_out(run: &Run, topic: &str, group: &str, settings: Settings) -> Outcome<[Member; 2]> {
    let mut first = Member::join(run, topic, group, settings)?;
    until("the first member's records", || {
        first.take()?;
        Ok(first.seen.len() >= 1000)
    })?;
    let alone = first.share().has;
    check!(alone.len() == PARTITIONS as usize, "alone it has {alone:?}");
    first.commit()?;
    let mut second = Member::join(run, topic, group, settings)?;
    until("both members' records and shares", || {
        first.take()?;
        second.take()?;
        first.commit()?;
        let halves = first.share().has.len() == HALF && second.share().has.len() == HALF;
        Ok(halves && first.seen.union(&second.seen).count() == RECORDS)
    })?;
    Ok([first, second])
}

/// Both commit and leave; what is committed is everything.
fn finish(run: &Run, topic: &str, group: &str, members: [Member; 2]) -> Outcome {
    for member in members {
        member.commit()?;
    }
    let found = committed(run, topic, group)?;
    check!(found.iter().sum::<i64>() == RECORDS as i64, "{found:?} was committed");
    Ok(())
}

pub fn group_of_two(run: &Run) -> Outcome {
    let (topic, group) = (run.name("gzip"), run.name("two"));
    let members = share_out(run, &topic, &group, &[("partition.assignment.strategy", "range")])?;
    let lost = members[0].share().lost;
    check!(lost.len() == PARTITIONS as usize, "an eager rebalance took just {lost:?}");
    finish(run, &topic, &group, members)
}

pub fn cooperative(run: &Run) -> Outcome {
    let (topic, group) = (run.name("zstd"), run.name("cooperative"));
    let members = share_out(run, &topic, &group, &[("partition.assignment.strategy", "cooperative-sticky")])?;
    let lost = members[0].share().lost;
    check!(lost.len() == HALF, "the first member lost {lost:?}");
    finish(run, &topic, &group, members)
}

pub fn new_protocol(run: &Run) -> Outcome {
    let (topic, group) = (run.name("lz4"), run.name("new"));
    let members = share_out(run, &topic, &group, &[("group.protocol", "consumer")])?;
    let lost = members[0].share().lost;
    check!(lost.len() == HALF, "the first member lost {lost:?}");
    let found = described(&admin(run)?, &group)?;
    check!(found.of_new_protocol && found.members == 2, "the group is described as {found:?}");
    finish(run, &topic, &group, members)
}

pub fn static_member(run: &Run) -> Outcome {
    let (topic, group) = (run.name("snappy"), run.name("static"));
    let join =
        |name| Member::join(run, &topic, &group, &[("group.instance.id", name), ("session.timeout.ms", "30000")]);
    let (mut one, mut two) = (join("one")?, join("two")?);
    until("two partitions each", || {
        one.take()?;
        two.take()?;
        Ok(one.share().has.len() == HALF && two.share().has.len() == HALF)
    })?;
    let (before, times_told) = (two.share().has, one.share().times_told);
    drop(two);
    two = join("two")?;
    until("the member's partitions", || {
        one.take()?;
        two.take()?;
        Ok(two.share().has.len() >= HALF)
    })?;
    let settled = Instant::now() + Duration::from_secs(2); // a rebalance that should not be would be seen by then
    while Instant::now() < settled {
        one.take()?;
        two.take()?;
    }
    let after = two.share().has;
    check!(after == before, "it had {before:?}, and has {after:?}");
    check!(one.share().times_told == times_told, "the other member saw a rebalance");
    Ok(())
}
