//! The records that are sent, and what must be seen of them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};

use crate::scenario::{Outcome, check};

pub const RECORDS: usize = 10_000;
pub const KEYS: usize = 100;
pub const PARTITIONS: i32 = 4;
pub const LARGE_BYTES: usize = 5 * 1024 * 1024;

pub fn key(number: usize) -> String {
    format!("key-{}", number % KEYS)
}

pub fn value(number: usize) -> String {
    format!("value-{number}-{}", "x".repeat(80))
}

/// The value of a large message; none is like another.
pub fn large(number: usize) -> Vec<u8> {
    format!("{number:07}.").repeat(LARGE_BYTES / 8).into_bytes()
}

/// The number, and a header without a value.
pub fn headers(number: usize) -> OwnedHeaders {
    OwnedHeaders::new()
        .insert(Header { key: "number", value: Some(&number.to_string()) })
        .insert(Header { key: "empty", value: None::<&str> })
}

pub fn text_of(message: &OwnedMessage) -> String {
    String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()
}

pub fn texts_of(messages: &[OwnedMessage]) -> Vec<String> {
    messages.iter().map(text_of).collect()
}

/// The values are those of the numbers, each once, in any order.
pub fn check_values(mut found: Vec<String>, numbers: Range<usize>, changed: fn(String) -> String) -> Outcome {
    let mut wanted: Vec<String> = numbers.map(value).map(changed).collect();
    found.sort();
    wanted.sort();
    check!(found == wanted, "{} records are there, or other ones than were sent", found.len());
    Ok(())
}

/// Judges the records of one topic as they come: each once, unchanged, in the order of its key.
#[derive(Default)]
pub struct ReadBack {
    last: HashMap<String, usize>,
    seen: BTreeSet<usize>,
}

impl ReadBack {
    pub fn add(&mut self, message: &OwnedMessage) -> Outcome {
        let all = message.headers().ok_or("a record has no headers")?;
        let text = |header: Header<'_, &[u8]>| header.value.map(String::from_utf8_lossy).map(String::from);
        let found: Vec<_> = all.iter().map(|header| (header.key.to_string(), text(header))).collect();
        let number: usize =
            found.first().and_then(|(_, text)| text.clone()).ok_or("a record has no number")?.parse()?;
        let wanted = [("number".to_string(), Some(number.to_string())), ("empty".to_string(), None)];
        let same = message.key() == Some(key(number).as_bytes()) && message.payload() == Some(value(number).as_bytes());
        check!(same && found == wanted, "record {number} is not what was sent");
        check!(self.seen.insert(number), "record {number} came twice");
        let before = self.last.insert(key(number), number);
        check!(before.is_none_or(|before| before < number), "record {number} is out of order");
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.seen.len()
    }
}
