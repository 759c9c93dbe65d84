//! This file answers: what should an operator know before a commit?

use std::collections::BTreeSet;

use crate::change::Change;
use crate::member::{NodeName, Status};
use crate::plan::Forced;
use crate::ring::{Ring, Row};

/// A ring before a commit, and what the commit makes of it.
pub(super) struct Outlook<'a> {
    /// Before.
    pub(super) now: &'a Ring,
    /// After.
    pub(super) draft: &'a Ring,
    /// The rows that the draft goes to.
    pub(super) goal: &'a [Row],
    /// What comes without a move.
    pub(super) forced: &'a Forced,
}

impl Outlook<'_> {
    /// What is wrong with the rows that are to be, what will be lost, and who takes no part.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.losses();
        warnings.extend(self.too_few_nodes());
        warnings.extend(self.shared_zones());
        warnings.extend(self.not_waited_for());
        warnings
    }

    /// What goes with those who do not hand anything off.
    pub(super) fn losses(&self) -> Vec<String> {
        let lost = self
            .now
            .staged
            .iter()
            .filter(|change| change.lost().is_some());
        lost.map(|change| self.loss(change)).collect()
    }

    fn loss(&self, change: &Change) -> String {
        let node = change.node();
        let copies = self.now.copies(node);
        let only = self.forced.only_copies(node);
        let what = match change {
            Change::Rejoin { .. } => format!("{node} comes back with an empty folder"),
            _ => format!("{node} goes without handing anything off"),
        };
        let refill = match (copies, only) {
            (0, _) => "it holds no copy".to_owned(),
            (_, 0) => format!(
                "its {copies} copies are lost and filled again from the other owners; what only it held, or it and \
                 others that fail before that, is lost"
            ),
            _ => format!(
                "its {copies} copies are lost, and of {only} partitions there is NO OTHER: all that they hold is lost"
            ),
        };
        let is_present = matches!(change, Change::Remove { .. } | Change::ForceReplace { .. });
        let instead = if is_present && copies > 0 {
            format!(
                "; if it runs, `rkv cluster leave {node}` or a replace without --force loses nothing"
            )
        } else {
            String::new()
        };
        format!("{what}: {refill}{instead}")
    }

    fn too_few_nodes(&self) -> Option<String> {
        let replicas = usize::from(self.draft.replicas);
        let owners: BTreeSet<&NodeName> = self.goal.iter().flatten().collect();
        let short = |rows: &[Row]| rows.iter().filter(|row| nodes_in(row) < replicas).count();
        let (then, now) = (short(self.goal), short(&self.now.rows));
        let all = self.goal.len();
        if owners.len() < replicas {
            Some(format!(
                "{} of the {replicas} nodes that {replicas} replicas need: no partition will have its replicas on \
                 distinct nodes ({now} of {all} have not now); join more with `rkv cluster join`",
                owners.len()
            ))
        } else if then > 0 {
            Some(format!(
                "{then} of {all} partitions will not have their {replicas} replicas on distinct nodes ({now} have not \
                 now)"
            ))
        } else {
            None
        }
    }

    fn shared_zones(&self) -> Option<String> {
        let shared = |ring: &Ring, rows: &[Row]| {
            let shares = |row: &&Row| zones_in(ring, row.iter()) < nodes_in(row);
            rows.iter().filter(shares).count()
        };
        let owners: BTreeSet<&NodeName> = self.goal.iter().flatten().collect();
        let zone = |node: &&NodeName| self.draft.members.get(*node)?.zone.as_ref();
        let then = shared(self.draft, self.goal);
        if then == 0 || !owners.iter().any(|node| zone(node).is_some()) {
            return None;
        }
        Some(format!(
            "{then} of {} partitions will have replicas that share a zone ({} do now): {} nodes in {} zones for {} \
             replicas; see `rkv cluster zone`",
            self.goal.len(),
            shared(self.now, &self.now.rows),
            owners.len(),
            zones_in(self.draft, owners.iter().copied()),
            self.draft.replicas
        ))
    }

    fn not_waited_for(&self) -> Vec<String> {
        let members = self.draft.members.iter();
        let down = members.filter(|(_, member)| member.status == Status::Down);
        down.map(|(name, _)| {
            format!(
                "{name} is down: it keeps the copies it has and gets no others until it is back; without it for good: \
                 `rkv cluster remove {name}`"
            )
        })
        .collect()
    }
}

fn nodes_in(row: &Row) -> usize {
    row.iter().collect::<BTreeSet<_>>().len()
}

fn zones_in<'a>(ring: &Ring, nodes: impl Iterator<Item = &'a NodeName>) -> usize {
    let zone = |node: &NodeName| ring.members.get(node).and_then(|m| m.zone.clone());
    nodes.map(zone).collect::<BTreeSet<_>>().len()
}
