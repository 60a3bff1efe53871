//! Transactions are committed, aborted and fenced, and carry a group's offsets.

use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{Writer, assigned, committed, consumer, take, take_all};
use crate::records::{RECORDS, check_values, text_of, texts_of};
use crate::scenario::{DEADLINE, Outcome, Run, check, until};
use crate::topics::created;

const TRANSACTION_RECORDS: usize = 100;
const A_SECOND: Duration = Duration::from_secs(1);

/// A producer that has its producer id, and has fenced whoever had the transactional id before.
fn transactional(run: &Run, id: &str) -> KafkaResult<Writer> {
    let writer = Writer::new(&run.bootstrap, &[("transactional.id", id)])?;
    writer.producer.init_transactions(DEADLINE)?;
    Ok(writer)
}

/// One transaction; its records begin with its outcome.
fn transact(writer: &Writer, topic: &str, outcome: &str) -> KafkaResult<()> {
    writer.producer.begin_transaction()?;
    for (number, value) in values_of(outcome).iter().enumerate() {
        writer.send(BaseRecord::<str, _, _>::with_opaque_to(topic, number).partition(0).payload(value))?;
    }
    writer.producer.flush(DEADLINE)?;
    match outcome {
        "aborted" => writer.producer.abort_transaction(DEADLINE),
        _ => writer.producer.commit_transaction(DEADLINE),
    }
}

fn values_of(outcome: &str) -> Vec<String> {
    (0..TRANSACTION_RECORDS).map(|number| format!("{outcome}-{number}")).collect()
}

/// The values of a topic of one partition under an isolation level; a little longer is read than until the last one.
fn lines_of(run: &Run, topic: &str, isolation: &str, wanted: usize) -> Outcome<Vec<String>> {
    let reader = assigned(run, topic, 1, &[("isolation.level", isolation)])?;
    let mut found = take_all(&reader, wanted, &format!("what is seen {isolation}"))?;
    found.extend(take(&reader, 10, A_SECOND)?);
    Ok(texts_of(&found))
}

pub fn transactions(run: &Run) -> Outcome {
    let (topic, id) = (created(run, "transactions", 1, &[])?, run.name("transactional"));
    let first = transactional(run, &id)?;
    let outcomes = ["committed", "aborted", "again"];
    for outcome in outcomes {
        transact(&first, &topic, outcome)?;
    }
    for (isolation, visible) in [("read_committed", &["committed", "again"][..]), ("read_uncommitted", &outcomes)] {
        let wanted: Vec<String> = visible.iter().copied().flat_map(values_of).collect();
        let seen = lines_of(run, &topic, isolation, wanted.len())?;
        check!(seen == wanted, "{} records are seen {isolation}, not just those that are {visible:?}", seen.len());
    }
    let second = transactional(run, &id)?;
    let fenced = transact(&first, &topic, "fenced");
    let code = fenced.as_ref().err().and_then(|error| error.rdkafka_error_code());
    let as_such = matches!(
        code,
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
    );
    check!(as_such, "the first producer's next transaction ends with {fenced:?}");
    Ok(transact(&second, &topic, "second")?)
}

pub fn transform(run: &Run) -> Outcome {
    let (source, group) = (run.name("gzip"), run.name("transform"));
    let target = created(run, "transformed", 1, &[])?;
    let writer = transactional(run, &run.name("transformer"))?;
    let reader = consumer(&run.bootstrap, &group, &[("isolation.level", "read_committed")])?;
    reader.subscribe(&[&source])?;
    let (mut done, mut transactions) = (0, 0);
    until("every record's transformation", || {
        let messages = take(&reader, 1000, A_SECOND)?;
        if messages.is_empty() {
            return Ok(false);
        }
        transactions += 1;
        send_in_capitals(&writer, &reader, &target, &messages)?;
        if transactions % 3 == 0 {
            writer.producer.abort_transaction(DEADLINE)?;
            back_to_committed(&reader, &source)?;
        } else {
            writer.producer.commit_transaction(DEADLINE)?;
            done += messages.len();
        }
        Ok(done >= RECORDS)
    })?;
    drop(reader);
    check_values(lines_of(run, &target, "read_committed", RECORDS)?, 0..RECORDS, |one| one.to_uppercase())?;
    let found = committed(run, &source, &group)?;
    check!(found.iter().sum::<i64>() == RECORDS as i64, "{found:?} was committed");
    Ok(())
}

/// A transaction with the records in capitals, and where the group then stands.
fn send_in_capitals(writer: &Writer, reader: &BaseConsumer, target: &str, messages: &[OwnedMessage]) -> Outcome {
    writer.producer.begin_transaction()?;
    for (number, message) in messages.iter().enumerate() {
        let value = text_of(message).to_uppercase();
        writer.send(BaseRecord::<str, _, _>::with_opaque_to(target, number).partition(0).payload(&value))?;
    }
    let group = reader.group_metadata().ok_or("the consumer has no group")?;
    Ok(writer.producer.send_offsets_to_transaction(&reader.position()?, &group, DEADLINE)?)
}

fn back_to_committed(reader: &BaseConsumer, topic: &str) -> Outcome {
    for one in reader.committed(DEADLINE)?.elements() {
        let place = match one.offset() {
            Offset::Invalid => Offset::Beginning,
            committed => committed,
        };
        reader.seek(topic, one.partition(), place, DEADLINE)?;
    }
    Ok(())
}
