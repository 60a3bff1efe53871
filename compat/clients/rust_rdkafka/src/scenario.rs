//! What every scenario has: its run, its deadline, how it fails, and whom it asks for a restart and for secure listeners.

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(60);

/// The argument that makes this program the process which is killed.
pub const CONSUME_UNTIL_KILLED: &str = "--consume-until-killed";

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// This client cannot do it, or not here: the sentence says why.
#[derive(Debug)]
pub struct Skipped(pub String);

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Skipped {}

/// Returns with an error that says this, where the condition does not hold.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}
pub(crate) use check;

/// Asks until the answer is yes; not for longer than the deadline.
pub fn until(what: &str, mut condition: impl FnMut() -> Outcome<bool>) -> Outcome {
    let end = Instant::now() + DEADLINE;
    while !condition()? {
        check!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// One run of this program: where the broker is, and names that nobody else uses.
pub struct Run {
    pub bootstrap: String,
    suffix: String,
}

impl Run {
    pub fn new(bootstrap: &str) -> Run {
        let random = RandomState::new().build_hasher().finish();
        Run { bootstrap: bootstrap.into(), suffix: format!("{:08x}", random as u32) }
    }

    /// The name of a topic, a group or a transactional id.
    pub fn name(&self, of: &str) -> String {
        format!("{of}-{}", self.suffix)
    }
}

/// Returns when the broker is there again, on the same port and data.
pub fn restart_broker() -> Outcome {
    let address = told("COMPAT_CONTROL", "nobody is there to restart the broker")?;
    let mut control = TcpStream::connect(address)?;
    control.set_read_timeout(Some(2 * DEADLINE))?;
    control.write_all(b"restart\n")?;
    let mut answer = String::new();
    BufReader::new(control).read_line(&mut answer)?;
    check!(answer == "restarted\n", "the broker was not restarted, but {answer:?}");
    Ok(())
}

/// What the environment says under this name.
pub fn told(variable: &str, otherwise: &str) -> Outcome<String> {
    std::env::var(variable).map_err(|_| Skipped(format!("{otherwise} ({variable} is not set)")).into())
}
