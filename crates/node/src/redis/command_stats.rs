//! This file answers: how often was each command called, how long did that take, and which errors were told?
//!
//! `INFO commandstats` and `INFO errorstats`. The time is that from a command being read to its reply being there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rkv_kv::PerThread;
use rkv_resp::Name;
use rkv_resp::command;
use smallvec::SmallVec;

/// Codes of errors that are counted each by itself; those beyond are counted together.
const ERROR_CODES: usize = 128;
/// The longest code.
const CODE_BYTES: usize = 32;
/// Where errors beyond [`ERROR_CODES`] are counted.
const OTHER_CODES: &str = "OTHER";

/// What all connections counted, by command.
#[derive(Default)]
pub(super) struct CommandStats {
    commands: PerThread<Each>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// By [`Name`], in its order.
struct Each(Box<[Totals]>);

impl Default for Each {
    fn default() -> Each {
        Each(command::all().map(|_| Totals::default()).collect())
    }
}

#[derive(Debug, Default)]
struct Totals {
    calls: AtomicU64,
    us: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

/// What one connection counted in a turn.
#[derive(Debug, Default)]
pub(super) struct Called {
    /// The command called last comes last: most calls are of the same command as the one before.
    commands: SmallVec<[Calls; 2]>,
    errors: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Calls {
    name: Name,
    calls: u64,
    us: u64,
    rejected: u64,
    failed: u64,
}

impl Called {
    /// A command was carried out.
    pub(super) fn called(&mut self, name: Name, us: u64, failed: bool) {
        let calls = self.of(name);
        calls.calls += 1;
        calls.us += us;
        calls.failed += u64::from(failed);
    }

    /// A command was not carried out: by its arguments' number, or for want of a password.
    pub(super) fn rejected(&mut self, name: Name) {
        self.of(name).rejected += 1;
    }

    /// A client was told this error.
    pub(super) fn failed(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        let code = code.get(..CODE_BYTES.min(code.len())).unwrap_or_default();
        match self.errors.iter_mut().find(|(known, _)| known == code) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((code.to_owned(), 1)),
        }
    }

    fn of(&mut self, name: Name) -> &mut Calls {
        let at = match self.commands.iter().rposition(|calls| calls.name == name) {
            Some(at) => at,
            None => {
                self.commands.push(Calls {
                    name,
                    calls: 0,
                    us: 0,
                    rejected: 0,
                    failed: 0,
                });
                self.commands.len() - 1
            }
        };
        &mut self.commands[at]
    }
}

impl std::fmt::Debug for CommandStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.commands()).finish()
    }
}

impl CommandStats {
    /// Takes over what a connection has counted.
    pub(super) fn add(&self, called: &mut Called) {
        for calls in called.commands.drain(..) {
            let Some(totals) = self.commands.mine().0.get(calls.name as usize) else {
                continue;
            };
            totals.calls.fetch_add(calls.calls, Ordering::Relaxed);
            totals.us.fetch_add(calls.us, Ordering::Relaxed);
            if calls.rejected + calls.failed > 0 {
                totals.rejected.fetch_add(calls.rejected, Ordering::Relaxed);
                totals.failed.fetch_add(calls.failed, Ordering::Relaxed);
            }
        }
        if called.errors.is_empty() {
            return;
        }
        let mut errors = self.errors.lock();
        for (code, count) in called.errors.drain(..) {
            let is_full = errors.len() >= ERROR_CODES && !errors.contains_key(&code);
            let code = if is_full {
                OTHER_CODES.to_owned()
            } else {
                code
            };
            *errors.entry(code).or_default() += count;
        }
    }

    /// The lines of `INFO commandstats`: name and figures of each command that was asked for.
    pub(super) fn commands(&self) -> Vec<(String, String)> {
        let line = |spec: &'static command::Spec| {
            let [mut calls, mut us, mut rejected, mut failed] = [0; 4];
            for each in self.commands.all() {
                let totals = each.0.get(spec.name as usize)?;
                calls += totals.calls.load(Ordering::Relaxed);
                us += totals.us.load(Ordering::Relaxed);
                rejected += totals.rejected.load(Ordering::Relaxed);
                failed += totals.failed.load(Ordering::Relaxed);
            }
            if calls + rejected == 0 {
                return None;
            }
            let each = us as f64 / calls.max(1) as f64;
            let figures = format!(
                "calls={calls},usec={us},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
            );
            Some((format!("cmdstat_{}", spec.text), figures))
        };
        command::all().filter_map(line).collect()
    }

    /// The lines of `INFO errorstats`.
    pub(super) fn errors(&self) -> Vec<(String, String)> {
        let errors = self.errors.lock();
        let line = |(code, count): (&String, &u64)| {
            (format!("errorstat_{code}"), format!("count={count}"))
        };
        errors.iter().map(line).collect()
    }

    /// CONFIG RESETSTAT
    pub(super) fn reset(&self) {
        for totals in self.commands.all().flat_map(|each| &each.0) {
            for total in [&totals.calls, &totals.us, &totals.rejected, &totals.failed] {
                total.store(0, Ordering::Relaxed);
            }
        }
        self.errors.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_from_0_without_a_gap() {
        // Lost without it: a command's figures stand under another's name, or nowhere.
        let mut numbers: Vec<usize> = command::all().map(|spec| spec.name as usize).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..numbers.len()));
    }

    #[test]
    fn figures_of_many_turns_add_up() {
        // Lost without it: exporters draw rates of commands that never were.
        let stats = CommandStats::default();
        for _ in 0..2 {
            let mut called = Called::default();
            called.called(Name::Get, 10, false);
            called.called(Name::ClientId, 1, true);
            called.called(Name::Get, 5, true);
            called.rejected(Name::Set);
            called.failed("ERR no");
            called.failed("ERR no again");
            called.failed("WRONGTYPE");
            stats.add(&mut called);
            stats.add(&mut called);
        }
        let line = |name: &str, figures: &str| (name.to_owned(), figures.to_owned());
        let get = "calls=4,usec=30,usec_per_call=7.50,rejected_calls=0,failed_calls=2";
        let set = "calls=0,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=0";
        let id = "calls=2,usec=2,usec_per_call=1.00,rejected_calls=0,failed_calls=2";
        let expected = [
            line("cmdstat_get", get),
            line("cmdstat_set", set),
            line("cmdstat_client|id", id),
        ];
        assert_eq!(stats.commands(), expected);
        let expected = [
            line("errorstat_ERR", "count=4"),
            line("errorstat_WRONGTYPE", "count=2"),
        ];
        assert_eq!(stats.errors(), expected);
        stats.reset();
        assert!(stats.commands().is_empty() && stats.errors().is_empty());
    }

    #[test]
    fn codes_of_errors_are_bounded() {
        // Lost without it: a client that makes up error codes fills the node's memory.
        let stats = CommandStats::default();
        for code in 0..1_000 {
            let mut called = Called::default();
            called.failed(&format!("E{code}"));
            stats.add(&mut called);
        }
        assert_eq!(stats.errors().len(), ERROR_CODES + 1);
    }
}
