//! This file answers: what does a node tell people about its copies?

use rkv_ring::NodeName;
use rkv_wire::message::{CopyReport, HintReport, Report, TransferKind, TransferReport};

use super::Host;
use crate::actor::Actor;
use crate::handoff_out::Stage;
use crate::phase::Phase;
use crate::view::View;

impl Host {
    /// What this node tells people about itself.
    pub fn report(&self) -> Report {
        let view = self.view();
        let mut report = Report {
            ring: Some(view.id()),
            digest: view.ring().digest().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Report::default()
        };
        for running in &self.services {
            for desk in &running.desks {
                let actor = desk.actor.lock();
                report_copy(&view, &actor, &mut report);
            }
        }
        report
    }
}

fn report_copy(view: &View, actor: &Actor, report: &mut Report) {
    let copy = actor.id;
    let me = view.me();
    if actor.phase != Phase::Absent {
        report.copies.push(CopyReport {
            copy,
            state: actor.state(),
            totals: actor.holding.totals(),
        });
    }
    let transfer = |kind, to: &NodeName| TransferReport {
        kind,
        copy,
        from: me.clone(),
        to: to.clone(),
        active: false,
        settled: false,
        keys_done: 0,
        keys_total: actor.holding.totals().entries,
        bytes_done: 0,
        bytes_total: actor.holding.totals().bytes,
        keys_per_s: 0,
        waiting_for: None,
        last_error: None,
    };
    if actor.holding.hints() > 0 {
        let owners = view.owners(copy.partition);
        let absent = owners.iter().filter(|node| !view.is_up(node)).cloned();
        let waiting_for: Vec<NodeName> = absent.collect();
        for to in owners.iter().filter(|node| *node != me) {
            report.transfers.push(TransferReport {
                active: actor.hinting.drain.is_some() && view.is_up(to),
                keys_total: actor.holding.hints(),
                bytes_total: 0,
                waiting_for: (!view.is_up(to)).then(|| format!("{to} is not reachable")),
                last_error: actor.hinting.trouble().cloned(),
                ..transfer(TransferKind::Hinted, to)
            });
        }
        report.hints.push(HintReport {
            copy,
            keys: actor.holding.hints(),
            waiting_for,
        });
    }
    let listed = view.ring().moves.get(&copy.partition);
    if let Some(listed) = listed.filter(|m| m.from == *me) {
        let waiting_for = match (&actor.giving.out, &actor.phase) {
            (Some(out), _) if out.stage == Stage::Ready => Some("the next epoch".to_owned()),
            (Some(_), _) => None,
            (None, Phase::CatchingUp { .. }) => Some("the source catches up".to_owned()),
            (None, _) if !view.is_up(&listed.to) => Some(format!("{} is not reachable", listed.to)),
            (None, _) => Some("a free transfer (transfers.limit)".to_owned()),
        };
        let sent = actor
            .giving
            .out
            .as_ref()
            .map(|out| out.sent)
            .unwrap_or_default();
        report.transfers.push(TransferReport {
            active: actor.giving.out.is_some(),
            keys_done: sent.entries,
            bytes_done: sent.bytes,
            waiting_for,
            last_error: actor.giving.backoff.last_error().cloned(),
            ..transfer(TransferKind::Ownership, &listed.to)
        });
    }
    if let Phase::Draining { to } = &actor.phase {
        let to = to
            .clone()
            .or_else(|| view.ring().row(copy.partition).first().cloned());
        let done = actor.leaving.proofs.iter().map(|d| d.done.entries).max();
        if let Some(to) = to {
            report.transfers.push(TransferReport {
                active: !actor.leaving.proofs.is_empty(),
                settled: true,
                keys_done: done.unwrap_or_default(),
                waiting_for: Some("the owner to cover the old copy".to_owned()),
                last_error: actor.leaving.proofs.iter().find_map(|d| d.trouble.clone()),
                ..transfer(TransferKind::Ownership, &to)
            });
        }
    }
    if let Some(comparison) = actor.catching_up_with() {
        report.transfers.push(TransferReport {
            active: true,
            from: comparison.with.clone(),
            keys_done: comparison.done.entries,
            last_error: comparison.trouble.clone(),
            ..transfer(TransferKind::Repair, me)
        });
    } else if matches!(actor.phase, Phase::CatchingUp { .. }) {
        report.transfers.push(TransferReport {
            waiting_for: Some("its peers to answer".to_owned()),
            ..transfer(TransferKind::Repair, me)
        });
    }
}
