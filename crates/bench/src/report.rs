//! This file answers: what does a worker tell of what it did?
//!
//! Each completed operation is a few bytes in a list of the worker's own; a list that is full, or a second old, goes to the
//! [`ledger`](crate::ledger) as it is. No histogram and no lock is on the path of an operation.

use std::time::Instant;

use tokio::sync::mpsc::Sender;

use crate::driver::Failed;
use crate::mix::Operation;

/// Operations in one report at most.
const REPORT_MOST: usize = 1024;
/// Reports that wait for the ledger at most. Then workers wait too: rather that than figures that are lost.
pub(crate) const REPORTS_WAITING: usize = 1024;

/// An operation that succeeded. Times are nanoseconds, moments counted from when recording began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) operation: Operation,
    pub(crate) ended: u64,
    pub(crate) latency: u64,
}

/// An operation that did not.
#[derive(Debug, Clone)]
pub(crate) struct Mishap {
    pub(crate) operation: Operation,
    pub(crate) ended: u64,
    pub(crate) failed: Failed,
}

/// What one worker has done since its last report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) worker: usize,
    pub(crate) samples: Vec<Sample>,
    pub(crate) mishaps: Vec<Mishap>,
    /// All that ended before this moment has been told.
    pub(crate) until: u64,
    /// The worker has ended.
    pub(crate) is_last: bool,
}

/// One worker's list.
#[derive(Debug)]
pub(crate) struct Reporter {
    worker: usize,
    record_from: Instant,
    ledger: Sender<Report>,
    samples: Vec<Sample>,
    mishaps: Vec<Mishap>,
}

impl Reporter {
    pub(crate) fn new(worker: usize, record_from: Instant, ledger: Sender<Report>) -> Reporter {
        Reporter {
            worker,
            record_from,
            ledger,
            samples: Vec::new(),
            mishaps: Vec::new(),
        }
    }

    /// An operation that was due at `from` ended at `now`.
    pub(crate) fn note(
        &mut self,
        operation: Operation,
        from: Instant,
        now: Instant,
        result: Result<(), Failed>,
    ) {
        let ended = self.moment(now);
        match result {
            Ok(()) => self.samples.push(Sample {
                operation,
                ended,
                latency: now.saturating_duration_since(from).as_nanos() as u64,
            }),
            Err(failed) => self.mishaps.push(Mishap {
                operation,
                ended,
                failed,
            }),
        }
    }

    /// Whether it is to be told before more is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.samples.len() + self.mishaps.len() >= REPORT_MOST
    }

    /// Tells it. An error: nobody listens any more.
    pub(crate) async fn tell(&mut self, now: Instant, is_last: bool) -> Result<(), Unheard> {
        let room = match self.is_full() {
            true => REPORT_MOST,
            false => self.samples.len(),
        };
        let samples = std::mem::replace(&mut self.samples, Vec::with_capacity(room));
        let report = Report {
            worker: self.worker,
            samples,
            mishaps: std::mem::take(&mut self.mishaps),
            until: self.moment(now),
            is_last,
        };
        self.ledger.send(report).await.map_err(|_| Unheard)
    }

    fn moment(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.record_from).as_nanos() as u64
    }
}

/// The ledger has ended: it says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unheard;
