//! How consumers, producers and admin clients are made, and what several scenarios do with them.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{OwnedMessage, ToBytes};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use crate::records::PARTITIONS;
use crate::scenario::{DEADLINE, Outcome, Run, check};

pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// `settings` take precedence over what all clients have.
fn config(bootstrap: &str, settings: Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

pub fn consumer(bootstrap: &str, group: &str, settings: Settings) -> KafkaResult<BaseConsumer> {
    consumer_told(bootstrap, group, settings, DefaultConsumerContext)
}

/// A consumer that tells its context of rebalances.
pub fn consumer_told<C: ConsumerContext>(
    bootstrap: &str,
    group: &str,
    settings: Settings,
    context: C,
) -> KafkaResult<BaseConsumer<C>> {
    let mut own = vec![("group.id", group), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    if !settings.iter().any(|(name, _)| *name == "group.protocol") {
        own.extend([("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")]);
    }
    own.extend(settings);
    config(bootstrap, &own).create_with_context(context)
}

/// A consumer of these partitions of a topic, from their beginning on.
pub fn assigned(run: &Run, topic: &str, partitions: i32, settings: Settings) -> Outcome<BaseConsumer> {
    let reader = consumer(&run.bootstrap, &run.name("assigned"), settings)?;
    reader.assign(&partitions_at(topic, partitions, Offset::Beginning))?;
    Ok(reader)
}

/// The partitions 0 to `count` - 1 of a topic, all at this offset.
pub fn partitions_at(topic: &str, count: i32, offset: Offset) -> TopicPartitionList {
    (0..count).map(|number| (topic.to_string(), number, offset)).collect()
}

/// The messages that come within the time; not more than are wanted.
pub fn take<C: ConsumerContext>(
    reader: &BaseConsumer<C>,
    wanted: usize,
    time: Duration,
) -> KafkaResult<Vec<OwnedMessage>> {
    let end = Instant::now() + time;
    let mut found = Vec::new();
    while found.len() < wanted && Instant::now() < end {
        if let Some(message) = reader.poll(end.saturating_duration_since(Instant::now())) {
            found.push(message?.detach());
        }
    }
    Ok(found)
}

/// Just as many messages as are wanted.
pub fn take_all<C: ConsumerContext>(reader: &BaseConsumer<C>, wanted: usize, what: &str) -> Outcome<Vec<OwnedMessage>> {
    let found = take(reader, wanted, DEADLINE).map_err(|error| format!("{what}: {error}"))?;
    check!(found.len() == wanted, "{what}: {} came instead of {wanted}", found.len());
    Ok(found)
}

/// What a group has committed in the partitions of a topic of the run; 0 where there is nothing.
pub fn committed(run: &Run, topic: &str, group: &str) -> Outcome<Vec<i64>> {
    let reader = consumer(&run.bootstrap, group, &[])?;
    let found = reader.committed_offsets(partitions_at(topic, PARTITIONS, Offset::Invalid), DEADLINE)?;
    found
        .elements()
        .iter()
        .map(|one| {
            one.error()?;
            Ok(match one.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            })
        })
        .collect()
}

/// A producer's context: what became of each record, and what the client says of itself.
#[derive(Default)]
pub struct Deliveries {
    offsets: Mutex<HashMap<usize, i64>>,
    failures: Mutex<Vec<KafkaError>>,
    problems: Mutex<Vec<KafkaError>>,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, _: &str) {
        self.problems.lock().unwrap().push(error);
    }
}

impl ProducerContext for Deliveries {
    /// The number of the record.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => {
                self.offsets.lock().unwrap().insert(number, message.offset());
            }
            Err((error, _)) => self.failures.lock().unwrap().push(error.clone()),
        }
    }
}

/// A producer, and what became of its records.
pub struct Writer {
    pub producer: ThreadedProducer<Deliveries>,
}

impl Writer {
    pub fn new(bootstrap: &str, settings: Settings) -> KafkaResult<Writer> {
        let producer = config(bootstrap, settings).create_with_context(Deliveries::default())?;
        Ok(Writer { producer })
    }

    pub fn send<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(&self, record: BaseRecord<K, V, usize>) -> KafkaResult<()> {
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// The offset of each record by its number, when all are there.
    pub fn delivered(&self) -> Outcome<HashMap<usize, i64>> {
        self.producer.flush(2 * DEADLINE)?;
        let failures = self.refused();
        check!(failures.is_empty(), "{} deliveries failed, the first with {}", failures.len(), failures[0]);
        Ok(self.producer.context().offsets.lock().unwrap().clone())
    }

    /// Why records were not delivered.
    pub fn refused(&self) -> Vec<KafkaError> {
        self.producer.context().failures.lock().unwrap().clone()
    }

    /// Whether the client said this of itself.
    pub fn said(&self, code: RDKafkaErrorCode) -> bool {
        self.producer.context().problems.lock().unwrap().contains(&KafkaError::Global(code))
    }
}

pub type Admin = AdminClient<DefaultClientContext>;

pub fn admin(run: &Run) -> KafkaResult<Admin> {
    config(&run.bootstrap, &[]).create()
}

/// The options of every admin request: it ends within the deadline.
pub fn in_time() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DEADLINE))
}

/// Waits for the answer to an admin request.
pub fn answer<F: Future>(request: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut request = pin!(request);
    loop {
        match request.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
