//! Users sign in by TLS and SASL, and not with a wrong password.

use rdkafka::consumer::Consumer;
use rdkafka::producer::BaseRecord;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::clients::{Writer, consumer, take_all};
use crate::scenario::{Outcome, Run, check, told, until};

const WAYS: [(&str, &str); 5] = [
    ("SSL", ""),
    ("SASL_PLAINTEXT", "PLAIN"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-512"),
    ("SASL_SSL", "PLAIN"),
];

pub fn sign_in(run: &Run) -> Outcome {
    for (protocol, mechanism) in WAYS {
        let bootstrap = told(&format!("COMPAT_{protocol}"), "the broker has no secure listeners here")?;
        let authority = std::env::var("COMPAT_CA").unwrap_or_default();
        let user = std::env::var("COMPAT_USER").unwrap_or_default();
        let password = std::env::var("COMPAT_PASSWORD").unwrap_or_default();
        let mut settings = vec![("security.protocol", protocol)];
        if protocol.contains("SSL") {
            settings.push(("ssl.ca.location", &authority));
        }
        if mechanism.is_empty() {
            write_and_read(run, &bootstrap, &settings)?;
            continue;
        }
        settings.extend([("sasl.mechanism", mechanism), ("sasl.username", &user), ("sasl.password", &password)]);
        write_and_read(run, &bootstrap, &settings).map_err(|error| format!("{protocol}, {mechanism}: {error}"))?;
        settings.push(("sasl.password", "a wrong password"));
        let refused = Writer::new(&bootstrap, &settings)?;
        until("the refusal of a wrong password", || Ok(refused.said(RDKafkaErrorCode::Authentication)))?;
    }
    Ok(())
}

fn write_and_read(run: &Run, bootstrap: &str, settings: &[(&str, &str)]) -> Outcome {
    let topic = run.name("none");
    let writer = Writer::new(bootstrap, settings)?;
    writer.send(BaseRecord::<str, _, _>::with_opaque_to(&topic, 0).partition(0).payload("signed in"))?;
    let offset = writer.delivered()?[&0];
    let reader = consumer(bootstrap, &run.name("signed-in"), settings)?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&topic, 0, Offset::Offset(offset))?;
    reader.assign(&place)?;
    let found = take_all(&reader, 1, "the record")?;
    check!(found[0].payload() == Some(b"signed in"), "{:?} was read", found[0].payload());
    Ok(())
}
