//! Partitions are read from where a user wants, and offsets are found by time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset};

use crate::clients::{assigned, consumer, partitions_at, take, take_all};
use crate::records::{PARTITIONS, RECORDS};
use crate::scenario::{DEADLINE, Outcome, Run, check, until};

const A_SECOND: Duration = Duration::from_secs(1);

pub fn seek(run: &Run) -> Outcome {
    let topic = run.name("none");
    let reader = assigned(run, &topic, 2, &[("queued.min.messages", "100")])?;
    take_all(&reader, 10, "a first few records")?;
    reader.seek(&topic, 0, Offset::Offset(5), DEADLINE)?;
    let mut offsets: Vec<i64> = Vec::new();
    poll_for(&reader, DEADLINE, 50, &mut offsets)?;
    check!(offsets.first() == Some(&5), "after the seek to 5 comes {:?}", offsets.first());
    let before = offsets.len();
    let first = partitions_at(&topic, 1, Offset::Invalid);
    reader.pause(&first)?;
    reader.seek(&topic, 1, Offset::Beginning, DEADLINE)?;
    let mut gave = poll_for(&reader, A_SECOND, RECORDS, &mut offsets)?;
    until("a record of the other partition", || {
        if gave.is_empty() {
            gave = poll_for(&reader, A_SECOND, RECORDS, &mut offsets)?;
        }
        Ok(!gave.is_empty())
    })?;
    check!(gave == BTreeSet::from([1]) && offsets.len() == before, "while 0 was paused, {gave:?} gave records");
    reader.resume(&first)?;
    poll_for(&reader, DEADLINE, before + 50, &mut offsets)?;
    let wanted: Vec<i64> = (5..).take(before + 50).collect();
    check!(offsets == wanted, "around the pause came {offsets:?}");
    reach_the_end(&reader, &topic)
}

/// What comes from partition 0 goes to `offsets`, until so many are wanted; the partitions that gave something.
fn poll_for(reader: &BaseConsumer, time: Duration, wanted: usize, offsets: &mut Vec<i64>) -> Outcome<BTreeSet<i32>> {
    let end = Instant::now() + time;
    let mut gave = BTreeSet::new();
    while Instant::now() < end && offsets.len() < wanted {
        for message in take(reader, 1, time.min(A_SECOND / 10))? {
            gave.insert(message.partition());
            if message.partition() == 0 {
                offsets.push(message.offset());
            }
        }
    }
    Ok(gave)
}

/// The record before the end of partition 0 is the last; the position is then the end.
fn reach_the_end(reader: &BaseConsumer, topic: &str) -> Outcome {
    let end = reader.fetch_watermarks(topic, 0, DEADLINE)?.1;
    let mut other = partitions_at(topic, 0, Offset::Invalid);
    other.add_partition(topic, 1);
    reader.pause(&other)?;
    reader.seek(topic, 0, Offset::Offset(end - 1), DEADLINE)?;
    let last = take_all(reader, 1, "the last record")?[0].offset();
    let positions = reader.position()?;
    let position = positions.find_partition(topic, 0).ok_or("there is no position")?.offset();
    check!(last == end - 1 && position == Offset::Offset(end), "{last} is the last before {end}, then {position:?}");
    let more = take(reader, 1, A_SECOND)?;
    check!(more.is_empty(), "behind the end there is {:?}", more[0].offset());
    Ok(())
}

pub fn by_time(run: &Run) -> Outcome {
    let topic = run.name("none");
    let reader = consumer(&run.bootstrap, &run.name("times"), &[])?;
    let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64 + 3_600_000;
    for (time, wanted) in [(0, Offset::Offset(0)), (in_an_hour, Offset::End)] {
        let asked = partitions_at(&topic, PARTITIONS, Offset::Offset(time));
        for one in reader.offsets_for_times(asked, DEADLINE)?.elements() {
            one.error()?;
            check!(one.offset() == wanted, "at {time} is {:?} in {}", one.offset(), one.partition());
        }
    }
    let mut total = 0;
    for number in 0..PARTITIONS {
        total += reader.fetch_watermarks(&topic, number, DEADLINE)?.1;
    }
    check!(total == RECORDS as i64, "the ends add up to {total}");
    Ok(())
}
