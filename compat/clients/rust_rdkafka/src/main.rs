//! rust-rdkafka as a user would use it: the list of scenarios that all clients share, and how one is run and reported.

mod clients;
mod described;
mod groups;
mod members;
mod reading;
mod records;
mod restart;
mod scenario;
mod sign_in;
mod topics;
mod transactions;
mod writing;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::time::Instant;

use scenario::{CONSUME_UNTIL_KILLED, Outcome, Run, Skipped};

type Scenario = fn(&Run) -> Outcome;

/// Every scenario under its name, in the order in which they are done.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("create topic", topics::create_all),
    ("administer a topic", topics::administer),
    ("produce none", |run| writing::produce(run, "none")),
    ("produce gzip", |run| writing::produce(run, "gzip")),
    ("produce snappy", |run| writing::produce(run, "snappy")),
    ("produce lz4", |run| writing::produce(run, "lz4")),
    ("produce zstd", |run| writing::produce(run, "zstd")),
    ("idempotent producer", writing::idempotent),
    ("messages of 5 MiB", writing::large_messages),
    ("1,000 partitions", writing::wide),
    ("consume in a group of two with a rebalance", members::group_of_two),
    ("consume in a group of two, cooperatively", members::cooperative),
    ("restart a static member", members::static_member),
    ("commit, be killed, resume", groups::killed),
    ("seek, pause, resume", reading::seek),
    ("list and describe groups", groups::list_and_describe),
    ("reset offsets", groups::reset),
    ("offsets by time", reading::by_time),
    ("transactions", transactions::transactions),
    ("consume, transform, produce", transactions::transform),
    ("consumer group of the new protocol", members::new_protocol),
    ("share group", |_| Err(Skipped("it has no share consumer".into()).into())),
    ("restart the broker", restart::restart),
    ("sign in", sign_in::sign_in),
    ("delete", topics::delete_all),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> = arguments.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let Some(bootstrap) = options.get("--bootstrap") else {
        eprintln!("scenarios --bootstrap HOST:PORT [--scenarios WORD,WORD]");
        exit(2);
    };
    if let Some(topic) = options.get(CONSUME_UNTIL_KILLED) {
        let ended = groups::consume_until_killed(bootstrap, topic, options["--group"]);
        eprintln!("ended: {ended:?}");
        exit(1);
    }
    let mut words = vec!["create topic"];
    words.extend(options.get("--scenarios").map_or(vec![""], |chosen| chosen.split(',').collect()));
    let (run, missing) = (Run::new(bootstrap), not_served());
    let mut failed = false;
    for (name, work) in SCENARIOS.iter().filter(|(name, _)| words.iter().any(|word| name.contains(word))) {
        let started = Instant::now();
        let (status, detail) = match missing.get(*name) {
            Some(what) => ("not served", what.clone()),
            None => done(&run, *work),
        };
        failed |= status == "failed";
        let (detail, seconds) = (serde_json::Value::from(detail), started.elapsed().as_secs_f64());
        println!(r#"{{"scenario": "{name}", "status": "{status}", "seconds": {seconds:.2}, "detail": {detail}}}"#);
    }
    exit(i32::from(failed));
}

/// Under each scenario that the broker does not serve what is missing, as the environment says it.
fn not_served() -> HashMap<String, String> {
    let told = std::env::var("COMPAT_NOT_SERVED").unwrap_or_default();
    told.lines().filter_map(|line| line.split_once(": ")).map(|(name, what)| (name.into(), what.into())).collect()
}

/// The status that a scenario ends with, and what there is to say of it.
fn done(run: &Run, work: Scenario) -> (&'static str, String) {
    match catch_unwind(AssertUnwindSafe(|| work(run))) {
        Ok(Ok(())) => ("passed", String::new()),
        Ok(Err(error)) if error.is::<Skipped>() => ("skipped", error.to_string()),
        Ok(Err(error)) => ("failed", error.to_string()),
        Err(_) => ("failed", "it panicked; stderr says where".into()),
    }
}
