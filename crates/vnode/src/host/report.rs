//! This file answers: what does a node tell people about its copies?

use rkv_ring::NodeName;
use rkv_ring::handoff::PAUSED;
use rkv_wire::message::{CopyReport, HintReport, Report, TransferKind, TransferReport};

use super::Host;
use crate::actor::Actor;
use crate::handoff_out::Stage;
use crate::phase::Phase;
use crate::progress::{Amount, Progress};
use crate::view::View;

impl Host {
    /// What this node tells people about itself.
    pub fn report(&self) -> Report {
        let view = self.view();
        let now_ms = self.world.now_ms();
        let mut report = Report {
            ring: Some(view.id()),
            digest: view.ring().digest().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            warnings: self.notes(),
            reaping_waits_for: self.reaping_waits_for(),
            ..Report::default()
        };
        for running in &self.services {
            for desk in &running.desks {
                let has_entries = running.service.has_entries();
                self.look(desk, |actor| {
                    let reporter = Reporter {
                        view: &view,
                        actor,
                        now_ms,
                    };
                    reporter.all(has_entries, &mut report);
                });
            }
        }
        report
    }
}

/// One copy, looked at.
struct Reporter<'a> {
    view: &'a View,
    actor: &'a Actor,
    now_ms: u64,
}

impl Reporter<'_> {
    fn is_paused(&self) -> bool {
        self.view.ring().handoff.paused
    }

    /// All of it: counts that are kept anyway, so that a copy is looked at for a moment only.
    fn all(&self, has_entries: bool, report: &mut Report) {
        // Also that up to which a copy that lost something may have held.
        report.newest = report.newest.max(self.actor.newest());
        self.copy(report);
        // What holds no entries is never transferred.
        if has_entries {
            let entries = self.actor.holding.totals().entries;
            report.traces += entries.saturating_sub(self.actor.holding.live());
            self.hints(report);
            report.transfers.extend(self.move_out());
            report.transfers.extend(self.old_copy());
            report.transfers.extend(self.way_back());
            report.transfers.extend(self.exchange());
        }
    }

    fn copy(&self, report: &mut Report) {
        if self.actor.phase != Phase::Absent {
            report.copies.push(CopyReport {
                copy: self.actor.id,
                state: self.actor.state(),
                totals: self.actor.holding.totals(),
                live: self.actor.holding.live(),
                whole: self.actor.is_whole(),
            });
        }
    }

    /// A transfer of this copy to `to` of which nothing is done.
    fn transfer(&self, kind: TransferKind, to: &NodeName) -> TransferReport {
        let totals = self.actor.holding.totals();
        TransferReport {
            kind,
            copy: self.actor.id,
            from: self.view.me().clone(),
            to: to.clone(),
            active: false,
            settled: false,
            keys_done: 0,
            keys_total: totals.entries,
            bytes_done: 0,
            bytes_total: totals.bytes,
            keys_per_s: 0,
            waiting_for: None,
            last_error: None,
        }
    }

    /// Hints, and one transfer for each owner that they are for.
    fn hints(&self, report: &mut Report) {
        let holding = &self.actor.holding;
        if holding.hints() == 0 {
            return;
        }
        let owners = self.view.owners(self.actor.id.partition);
        let mut targets = holding.addressed().targets(self.view.id(), &owners);
        targets.remove(self.view.me());
        for (to, amount) in &targets {
            report.transfers.push(self.hinted(to, *amount));
        }
        report.hints.push(HintReport {
            copy: self.actor.id,
            keys: holding.hints(),
            waiting_for: targets.into_keys().collect(),
        });
    }

    fn hinted(&self, to: &NodeName, left: Amount) -> TransferReport {
        let drain = self.actor.hinting.drain.as_ref();
        let progress = drain.and_then(|drain| drain.progress(to));
        let done = progress.map(Progress::done).unwrap_or_default();
        let up = self.view.is_up(to);
        TransferReport {
            active: drain.is_some()
                && up
                && !self.is_paused()
                && !self.actor.hinting.waits_for_place(self.now_ms),
            keys_total: left.entries + done.entries,
            bytes_total: left.bytes + done.bytes,
            waiting_for: match drain {
                _ if !up => Some(format!("{to}, which is not reachable")),
                _ if self.is_paused() => Some(PAUSED.to_owned()),
                _ if self.actor.hinting.waits_for_place(self.now_ms) => {
                    Some("a free transfer (transfers.limit)".to_owned())
                }
                None => Some("the next round of hints".to_owned()),
                Some(_) => None,
            },
            last_error: self.actor.hinting.trouble().cloned(),
            ..done_so_far(
                self.transfer(TransferKind::Hinted, to),
                done,
                rate(progress, self.now_ms),
            )
        }
    }

    /// The move that the ring has this copy make.
    fn move_out(&self) -> Option<TransferReport> {
        let listed = self.view.ring().moves.get(&self.actor.id.partition)?;
        if listed.from != *self.view.me() {
            return None;
        }
        let giving = &self.actor.giving;
        let waiting_for = match (&giving.out, &self.actor.phase) {
            (Some(out), _) if out.stage == Stage::Ready => Some("the next epoch".to_owned()),
            _ if self.is_paused() => Some(PAUSED.to_owned()),
            (Some(_), _) => None,
            (None, Phase::CatchingUp { .. }) => Some("the source to catch up".to_owned()),
            (None, _) if !self.view.is_up(&listed.to) => {
                Some(format!("{}, which is not reachable", listed.to))
            }
            (None, _) if giving.full().is_some() => giving.full().cloned(),
            (None, _) if giving.is_put_off() => Some(format!("{} to be ready", listed.to)),
            (None, _) => Some("a free transfer (transfers.limit)".to_owned()),
        };
        let totals = self.actor.holding.totals();
        let out = giving.out.as_ref();
        let (done, per_s) = out
            .map(|out| out.progress(totals, self.now_ms))
            .unwrap_or_default();
        Some(TransferReport {
            active: out.is_some_and(|out| out.stage == Stage::Ready || !self.is_paused()),
            waiting_for,
            last_error: giving.backoff.trouble().cloned(),
            ..done_so_far(
                self.transfer(TransferKind::Ownership, &listed.to),
                done,
                per_s,
            )
        })
    }

    /// A copy that left the row and is not dropped yet.
    fn old_copy(&self) -> Option<TransferReport> {
        let Phase::Draining { to } = &self.actor.phase else {
            return None;
        };
        let owners = self.view.ring().row(self.actor.id.partition);
        let to = to.as_ref().or(owners.first())?;
        let leaving = &self.actor.leaving;
        let transfer = self.transfer(TransferKind::Ownership, to);
        let (done, per_s, waiting_for) = if leaving.proven {
            let all = Amount {
                entries: transfer.keys_total,
                bytes: transfer.bytes_total,
            };
            (all, 0, "its grace to pass (transfers.grace_s)")
        } else {
            // The last of those who are to cover it says how far that is.
            let last = leaving.proofs.iter().map(|proof| &proof.progress);
            let last = last.min_by_key(|progress| progress.done().entries);
            let done = last.map(Progress::done).unwrap_or_default();
            let per_s = rate(last, self.now_ms);
            let waiting_for = match self.is_paused() {
                true => PAUSED,
                false => "the owner to cover the old copy",
            };
            (done, per_s, waiting_for)
        };
        Some(TransferReport {
            active: !leaving.proofs.is_empty() && !self.is_paused(),
            settled: true,
            waiting_for: Some(waiting_for.to_owned()),
            last_error: leaving.proofs.iter().find_map(|d| d.trouble.clone()),
            ..done_so_far(transfer, done, per_s)
        })
    }

    /// A copy that catches up.
    fn way_back(&self) -> Option<TransferReport> {
        if !matches!(self.actor.phase, Phase::CatchingUp { .. }) {
            return None;
        }
        let transfer = self.transfer(TransferKind::Repair, self.view.me());
        let Some(comparison) = self.actor.catching_up_with() else {
            let waiting_for = match self.is_paused() {
                true => format!("hints that its peers may hold ({PAUSED})"),
                false => "its peers to answer".to_owned(),
            };
            return Some(TransferReport {
                waiting_for: Some(waiting_for),
                ..transfer
            });
        };
        let progress = &comparison.progress;
        let per_s = progress.entries_per_s(self.now_ms);
        Some(TransferReport {
            active: true,
            from: comparison.with.clone(),
            last_error: comparison.trouble.clone(),
            ..done_so_far(transfer, progress.done(), per_s)
        })
    }
}

impl Reporter<'_> {
    /// An exchange that somebody asked for, or that has found something to mend; those that find nothing are nothing to look at.
    fn exchange(&self) -> Option<TransferReport> {
        let repair = &self.actor.repair;
        let waits = || {
            repair
                .asked_for
                .first()
                .filter(|_| repair.exchange.is_none())
        };
        let transfer = |to: &NodeName| self.transfer(TransferKind::Repair, to);
        match repair
            .exchange
            .as_ref()
            .filter(|_| repair.is_worth_telling())
        {
            Some(exchange) => {
                let progress = &exchange.progress;
                let per_s = progress.entries_per_s(self.now_ms);
                Some(TransferReport {
                    active: true,
                    last_error: exchange.trouble.clone(),
                    ..done_so_far(transfer(&exchange.with), progress.done(), per_s)
                })
            }
            None => waits().map(|to| TransferReport {
                waiting_for: Some(format!("{to} to be compared with")),
                last_error: repair.trouble.clone(),
                ..transfer(to)
            }),
        }
    }
}

fn rate(progress: Option<&Progress>, now_ms: u64) -> u64 {
    progress.map_or(0, |progress| progress.entries_per_s(now_ms))
}

/// The same with so much of it done: never more than all.
fn done_so_far(transfer: TransferReport, done: Amount, keys_per_s: u64) -> TransferReport {
    TransferReport {
        keys_done: done.entries,
        keys_total: transfer.keys_total.max(done.entries),
        bytes_done: done.bytes,
        bytes_total: transfer.bytes_total.max(done.bytes),
        keys_per_s,
        ..transfer
    }
}
