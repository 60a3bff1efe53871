//! Groups are listed and described, their offsets are set, and one outlives its killed member.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};

use crate::clients::{admin, committed, consumer, partitions_at, take, take_all};
use crate::records::{PARTITIONS, RECORDS};
use crate::scenario::{CONSUME_UNTIL_KILLED, DEADLINE, Outcome, Run, check};

const KILLED_AFTER: usize = 3_000;

/// What the process does that is killed: it commits, says so on stdout, and goes on for ever.
pub fn consume_until_killed(bootstrap: &str, topic: &str, group: &str) -> Outcome {
    let reader = consumer(bootstrap, group, &[])?;
    reader.subscribe(&[topic])?;
    take_all(&reader, KILLED_AFTER, "the first records")?;
    reader.commit_consumer_state(CommitMode::Sync)?;
    println!("{KILLED_AFTER}");
    loop {
        take(&reader, 1, DEADLINE)?;
    }
}

pub fn killed(run: &Run) -> Outcome {
    let (topic, group) = (run.name("lz4"), run.name("killed"));
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--bootstrap", &run.bootstrap, CONSUME_UNTIL_KILLED, &topic, "--group", &group])
        .stdout(Stdio::piped())
        .spawn()?;
    let said = first_line(victim.stdout.take().ok_or("the process has no stdout")?);
    end(&mut victim)?;
    check!(said == Some(format!("{KILLED_AFTER}")), "the first consumer did not get that far, it said {said:?}");
    let reader = consumer(&run.bootstrap, &group, &[])?;
    reader.subscribe(&[&topic])?;
    take_all(&reader, RECORDS - KILLED_AFTER, "the rest")?;
    let more = take(&reader, 1, Duration::from_secs(1))?;
    check!(more.is_empty(), "more came after the resume than what was left");
    reader.commit_consumer_state(CommitMode::Sync)?;
    drop(reader);
    let found = committed(run, &topic, &group)?;
    check!(found.iter().sum::<i64>() == RECORDS as i64, "{found:?} was committed");
    Ok(())
}

/// What it says within the deadline.
fn first_line(output: ChildStdout) -> Option<String> {
    let (to, from) = mpsc::channel();
    thread::spawn(move || to.send(BufReader::new(output).lines().next()));
    from.recv_timeout(DEADLINE).ok()??.ok()
}

/// By SIGKILL.
fn end(victim: &mut Child) -> Outcome {
    victim.kill()?;
    victim.wait()?;
    Ok(())
}

pub fn list_and_describe(run: &Run) -> Outcome {
    let (admin, group) = (admin(run)?, run.name("two"));
    let listed = admin.inner().fetch_group_list(None, DEADLINE)?;
    check!(listed.groups().iter().any(|one| one.name() == group), "the group is not listed");
    let described = admin.inner().fetch_group_list(Some(&group), DEADLINE)?;
    let states: Vec<_> = described.groups().iter().map(|one| (one.name(), one.state(), one.protocol_type())).collect();
    check!(states == [(&*group, "Empty", "consumer")], "the group is described as {states:?}");
    Ok(())
}

/// By a consumer that has not joined the group.
pub fn reset(run: &Run) -> Outcome {
    let (topic, group) = (run.name("gzip"), run.name("two"));
    let wanted = partitions_at(&topic, PARTITIONS, Offset::Offset(7));
    consumer(&run.bootstrap, &group, &[])?.commit(&wanted, CommitMode::Sync)?;
    let found = committed(run, &topic, &group)?;
    check!(found == [7; PARTITIONS as usize], "{found:?} after the reset");
    Ok(())
}
