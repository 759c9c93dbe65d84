//! This file answers: how often did what occur?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts by name, and the longest time in which nobody was told of success.
pub struct Told {
    begun: Instant,
    counts: Mutex<BTreeMap<String, u64>>,
    last_ms: AtomicU64,
    longest_ms: AtomicU64,
    /// Each deed is told on stderr as it happens.
    aloud: bool,
}

impl Told {
    /// Nothing so far.
    pub fn new(aloud: bool) -> Told {
        Told {
            begun: Instant::now(),
            counts: Mutex::default(),
            last_ms: AtomicU64::new(0),
            longest_ms: AtomicU64::new(0),
            aloud,
        }
    }

    /// Once more.
    pub fn count(&self, what: &str) {
        self.count_many(what, 1);
    }

    /// So many times more.
    pub fn count_many(&self, what: &str, times: u64) {
        *self.counts.lock().entry(what.to_owned()).or_default() += times;
    }

    /// A step of the nemesis, for whoever looks on.
    pub fn say(&self, what: &str) {
        if self.aloud {
            eprintln!("{:8.3} {what}", self.begun.elapsed().as_secs_f64());
        }
    }

    /// A write was acknowledged just now.
    pub fn acknowledged(&self, kind: &str) {
        self.count(kind);
        let now = self.begun.elapsed().as_millis() as u64;
        let last = self.last_ms.fetch_max(now, Ordering::Relaxed);
        let gap = now.saturating_sub(last);
        self.longest_ms.fetch_max(gap, Ordering::Relaxed);
    }

    /// The longest time without an acknowledgement.
    pub fn longest_silence(&self) -> Duration {
        Duration::from_millis(self.longest_ms.load(Ordering::Relaxed))
    }

    /// How often that was counted.
    pub fn how_often(&self, what: &str) -> u64 {
        self.counts.lock().get(what).copied().unwrap_or_default()
    }

    /// The sum of all whose name begins so.
    pub fn sum(&self, prefix: &str) -> u64 {
        let counts = self.counts.lock();
        let those = counts.iter().filter(|(name, _)| name.starts_with(prefix));
        those.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &*self.counts.lock() {
            writeln!(f, "  {count:8}  {name}")?;
        }
        let silence = self.longest_silence().as_millis();
        write!(
            f,
            "  {silence:8}  ms: the longest without an acknowledged write"
        )
    }
}
