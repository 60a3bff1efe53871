//! Records are written in several ways, and read back.

use std::collections::BTreeSet;

use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use crate::clients::{Writer, admin, assigned, consumer, take, take_all};
use crate::records::{RECORDS, ReadBack, check_values, headers, key, large, text_of, texts_of, value};
use crate::scenario::{DEADLINE, Outcome, Run, check, until};
use crate::topics::{created, dropped};

const LARGE_LIMIT: &str = "6291456";
const WIDE: usize = 1_000;

pub fn produce(run: &Run, compression: &str) -> Outcome {
    let topic = run.name(compression);
    let settings = [("compression.type", compression), ("enable.idempotence", "true"), ("linger.ms", "5")];
    let writer = Writer::new(&run.bootstrap, &settings)?;
    for number in 0..RECORDS {
        let (key, value) = (key(number), value(number));
        writer.send(BaseRecord::with_opaque_to(&topic, number).key(&key).payload(&value).headers(headers(number)))?;
    }
    check!(writer.delivered()?.len() == RECORDS, "not everything was delivered");
    let reader = consumer(&run.bootstrap, &run.name(&format!("check-{compression}")), &[])?;
    reader.subscribe(&[&topic])?;
    let mut back = ReadBack::default();
    until("reading back", || {
        for message in take(&reader, 1000, DEADLINE / 60)? {
            back.add(&message)?;
        }
        Ok(back.count() == RECORDS)
    })
}

pub fn idempotent(run: &Run) -> Outcome {
    let topic = created(run, "idempotent", 1, &[])?;
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "100"), ("linger.ms", "5")];
    let writer = Writer::new(&run.bootstrap, &settings)?;
    for number in 0..RECORDS {
        writer.send(BaseRecord::<str, _, _>::with_opaque_to(&topic, number).payload(&value(number)))?;
    }
    let offsets = writer.delivered()?;
    let moved = (0..RECORDS).find(|number| offsets.get(number) != Some(&(*number as i64)));
    check!(moved.is_none(), "record {moved:?} is not at its place");
    check_values(texts_of(&take_all(&assigned(run, &topic, 1, &[])?, RECORDS, "the records")?), 0..RECORDS, |one| one)
}

pub fn large_messages(run: &Run) -> Outcome {
    let topic = created(run, "large", 1, &[("max.message.bytes", LARGE_LIMIT)])?;
    let writer = Writer::new(&run.bootstrap, &[("message.max.bytes", LARGE_LIMIT)])?;
    for number in 0..3 {
        writer.send(BaseRecord::<str, _, _>::with_opaque_to(&topic, number).partition(0).payload(&large(number)))?;
    }
    writer.delivered()?;
    let limits = [
        ("fetch.message.max.bytes", LARGE_LIMIT),
        ("fetch.max.bytes", "25165824"),
        ("receive.message.max.bytes", "31457280"),
    ];
    let found = take_all(&assigned(run, &topic, 1, &limits)?, 3, "three large messages")?;
    let same = found.iter().enumerate().all(|(number, one)| one.payload() == Some(&large(number)[..]));
    check!(same, "what came back is something else");
    let to_none = run.name("none");
    writer.send(BaseRecord::<str, _, _>::with_opaque_to(&to_none, 3).partition(0).payload(&large(3)))?;
    writer.producer.flush(DEADLINE)?;
    let refused: Vec<_> = writer.refused().iter().map(|error| error.rdkafka_error_code()).collect();
    check!(refused == [Some(RDKafkaErrorCode::MessageSizeTooLarge)], "too large a message ends with {refused:?}");
    Ok(())
}

pub fn wide(run: &Run) -> Outcome {
    let topic = created(run, "wide", WIDE as i32, &[])?;
    let writer = Writer::new(&run.bootstrap, &[("linger.ms", "100")])?;
    for number in 0..WIDE {
        let record = BaseRecord::<str, _, _>::with_opaque_to(&topic, number).partition(number as i32);
        writer.send(record.payload(&value(number)))?;
    }
    writer.delivered()?;
    let found = take_all(&assigned(run, &topic, WIDE as i32, &[])?, WIDE, "a record of each partition")?;
    let places: BTreeSet<_> = found.iter().map(|one| (one.partition() as usize, text_of(one))).collect();
    check!(places.into_iter().eq((0..WIDE).map(|number| (number, value(number)))), "not one of each partition");
    dropped(&admin(run)?, &[&topic])
}
