//! The broker is restarted while a producer goes on; nothing is lost, and nothing comes twice.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseRecord;
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{Writer, assigned, committed, consumer, take, take_all};
use crate::records::{PARTITIONS, check_values, key, text_of, texts_of, value};
use crate::scenario::{Outcome, Run, check, restart_broker, until};
use crate::topics::created;

const RESTART_RECORDS: usize = 5_000;
const RESTART_AFTER: usize = 1_000;
const RESTART_COMMITTED: usize = 500;
const IN_A_ROW: usize = 40;
const A_SECOND: Duration = Duration::from_secs(1);

pub fn restart(run: &Run) -> Outcome {
    let (topic, group) = (created(run, "restart", PARTITIONS, &[])?, run.name("restart"));
    let settings = [("enable.idempotence", "true"), ("linger.ms", "5"), ("reconnect.backoff.max.ms", "500")];
    let writer = Writer::new(&run.bootstrap, &settings)?;
    for number in 0..RESTART_AFTER {
        send(&writer, &topic, number)?;
    }
    check!(writer.delivered()?.len() == RESTART_AFTER, "not all was acknowledged before the restart");
    let reader = consumer(&run.bootstrap, &group, &[("reconnect.backoff.max.ms", "500")])?;
    reader.subscribe(&[&topic])?;
    let mut seen = texts_of(&take_all(&reader, RESTART_COMMITTED, "what was sent before the restart")?);
    reader.commit_consumer_state(CommitMode::Sync)?;
    let before = committed(run, &topic, &group)?;
    check!(before.iter().sum::<i64>() == RESTART_COMMITTED as i64, "{before:?} was committed before the restart");
    thread::scope(|scope| {
        let sender = scope.spawn(|| send_slowly(&writer, &topic));
        restart_broker()?;
        sender.join().map_err(|_| "the sender panicked")??;
        Outcome::Ok(())
    })?;
    let acknowledged = writer.delivered()?.len();
    check!(acknowledged == RESTART_RECORDS, "{acknowledged} records were acknowledged in the end");
    let mut after = Vec::new();
    until("what the group has committed", || match committed(run, &topic, &group) {
        Err(error) if error.downcast_ref().is_some_and(is_of_restart) => Ok(false),
        found => {
            after = found?;
            Ok(true)
        }
    })?;
    check!(after == before, "{before:?} was committed, and is now {after:?}");
    seen.extend(the_rest(&reader, RESTART_RECORDS - RESTART_COMMITTED)?);
    check_values(seen, 0..RESTART_RECORDS, |one| one)?;
    let another = assigned(run, &topic, PARTITIONS, &[])?;
    let mut all = take_all(&another, RESTART_RECORDS, "all records")?;
    all.extend(take(&another, 10, A_SECOND)?);
    check_values(texts_of(&all), 0..RESTART_RECORDS, |one| one)
}

fn send(writer: &Writer, topic: &str, number: usize) -> KafkaResult<()> {
    let (key, value) = (key(number), value(number));
    writer.send(BaseRecord::with_opaque_to(topic, number).key(&key).payload(&value))
}

/// The rest of the records over a second or so: some of them are under way when the broker goes.
fn send_slowly(writer: &Writer, topic: &str) -> KafkaResult<()> {
    for number in RESTART_AFTER..RESTART_RECORDS {
        send(writer, topic, number)?;
        if number % IN_A_ROW == 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// So many different values; on the way the consumer may say that the broker was gone, and begin anew at what is committed.
fn the_rest(reader: &BaseConsumer, wanted: usize) -> Outcome<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    until("the rest of the records", || {
        for _ in found.len()..wanted {
            match reader.poll(A_SECOND) {
                None => break,
                Some(Err(error)) if is_of_restart(&error) => break,
                Some(message) => found.insert(text_of(&message?.detach())),
            };
        }
        Ok(found.len() >= wanted)
    })?;
    Ok(found)
}

/// Whether this is what a client may be told while a broker is gone, or has just come.
fn is_of_restart(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
        )
    )
}
