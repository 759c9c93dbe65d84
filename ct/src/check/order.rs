//! Promise 7: stamps are unique, and a put begun after another was acknowledged ends higher, under any clocks, as long as
//! no fallback voted.

use std::collections::BTreeMap;

use rkv_quorum::clock::Stamp;

use crate::history::{History, Put};

/// What was acknowledged, by key.
#[derive(Default)]
pub struct Order {
    seen: BTreeMap<Stamp, u64>,
    looked_at: BTreeMap<u64, ()>,
    open: u64,
}

impl Order {
    /// Looks at the puts that have ended since.
    pub fn step(&mut self, history: &History) -> Result<(), String> {
        for put in history.puts.iter().skip(self.open as usize) {
            let Some((_, how)) = &put.end else {
                continue;
            };
            if self.looked_at.insert(put.number, ()).is_some() {
                continue;
            }
            let Put::Acknowledged { stamp, fallback } = how else {
                continue;
            };
            if let Some(other) = self.seen.insert(*stamp, put.number) {
                return Err(format!(
                    "puts {other} and {} share the stamp {stamp}",
                    put.number
                ));
            }
            if *fallback {
                continue;
            }
            let earlier = history.puts.iter().filter(|e| e.key == put.key);
            for earlier in earlier {
                if let Some((
                    at,
                    Put::Acknowledged {
                        stamp: before,
                        fallback: false,
                    },
                )) = &earlier.end
                    && *at < put.began_ms
                    && before >= stamp
                {
                    return Err(format!(
                        "put {} of {} ended at {stamp}, below put {} at {before} that was acknowledged before it began",
                        put.number, put.key, earlier.number
                    ));
                }
            }
        }
        while self.looked_at.remove(&self.open).is_some() {
            self.open += 1;
        }
        Ok(())
    }
}
