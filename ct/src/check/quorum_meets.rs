//! Promise 5: a get (r + w > n) begun after an acknowledgement returns that version or a newer one, unless a fallback
//! voted in either; and once everything has settled, every node reads the newest version of every key.

use std::collections::BTreeMap;

use rkv_quorum::clock::Stamp;

use crate::history::{Got, History, Put};

/// Compares each get with what was acknowledged before it began.
#[derive(Default)]
pub struct QuorumMeets {
    looked_at: BTreeMap<usize, ()>,
    open: usize,
}

impl QuorumMeets {
    /// Looks at the gets that have ended since.
    pub fn step(
        &mut self,
        history: &History,
        is_excused: impl Fn(&str, Stamp, Option<Stamp>) -> bool,
    ) -> Result<(), String> {
        let from = self.open;
        for (number, get) in history.gets.iter().enumerate().skip(from) {
            let Some((_, got)) = &get.end else {
                continue;
            };
            if self.looked_at.insert(number, ()).is_some() {
                continue;
            }
            if let Got::Version(read) = got {
                let floor = floor(history, &get.key, get.began_ms);
                let is_excused = floor.is_some_and(|floor| is_excused(&get.key, floor, *read));
                if *read < floor && !is_excused {
                    return Err(format!(
                        "a get of {} begun at {} ms read {read:?}, {floor:?} was acknowledged before",
                        get.key, get.began_ms
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

/// The gets from number `from` on were begun after everything had settled: whether all have ended, with what they should.
pub fn read_back(
    history: &History,
    from: usize,
    newest: &BTreeMap<&str, Stamp>,
    may_be_gone: impl Fn(&str, Stamp) -> bool,
) -> Result<bool, String> {
    let mut all = true;
    for get in &history.gets[from..] {
        let expected = newest.get(get.key.as_str()).copied();
        match &get.end {
            None => all = false,
            Some((_, Got::Version(read))) if *read >= expected => {}
            Some((_, Got::Version(None)))
                if expected.is_some_and(|stamp| may_be_gone(&get.key, stamp)) => {}
            Some((_, got)) => {
                return Err(format!(
                    "once settled, a get of {} came to {got:?}, and {expected:?} was acknowledged",
                    get.key
                ));
            }
        }
    }
    Ok(all)
}

/// The newest version of `key` acknowledged before `began_ms` by owners alone.
fn floor(history: &History, key: &str, began_ms: u64) -> Option<Stamp> {
    let of_key = history.puts.iter().filter(|put| put.key == key);
    of_key
        .filter_map(|put| match &put.end {
            Some((
                at,
                Put::Acknowledged {
                    stamp,
                    fallback: false,
                },
            )) if *at < began_ms => Some(*stamp),
            _ => None,
        })
        .max()
}
