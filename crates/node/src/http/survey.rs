//! This file answers: how does the cluster look from this node, all reports together?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rkv_kv::replica::KV;
use rkv_ring::{NodeName, Partition, Ring};
use rkv_vnode::View;
use rkv_wire::message::{CopyState, HintReport, Report, Totals};

use super::Http;
use super::awaited::answer_to;
use super::error::ApiError;

/// How long members have to report.
const REPORT_WITHIN_MS: u64 = 1_000;

/// The ring that this node routes by, who is up, and what those who are say of themselves.
pub(super) struct Survey {
    pub(super) view: Arc<View>,
    pub(super) reports: BTreeMap<NodeName, Report>,
    /// Copies of keys that answer for their places and count, by node; what they hold.
    serving: BTreeMap<NodeName, BTreeMap<Partition, Totals>>,
}

impl Survey {
    /// Asks all members that can be reached.
    pub(super) async fn take(http: &Http) -> Result<Survey, ApiError> {
        let stopping = |_| ApiError::internal("stopping", "the node is stopping");
        let _permit = http.surveys.acquire().await.map_err(stopping)?;
        let engine = &http.engine;
        let reports = answer_to(|done| engine.reports(REPORT_WITHIN_MS, done)).await?;
        Ok(Survey::new(engine.view(), reports))
    }

    pub(super) fn new(view: Arc<View>, reports: BTreeMap<NodeName, Report>) -> Survey {
        let serves = |state| {
            use CopyState::*;
            matches!(state, Serving | Sending | Forwarding)
        };
        let copies = |report: &Report| {
            let copies = report.copies.iter();
            let serving = copies.filter(|copy| copy.copy.service == KV && serves(copy.state));
            serving
                .map(|copy| (copy.copy.partition, copy.totals))
                .collect()
        };
        let serving = reports
            .iter()
            .map(|(node, report)| (node.clone(), copies(report)))
            .collect();
        Survey {
            view,
            reports,
            serving,
        }
    }

    pub(super) fn ring(&self) -> &Ring {
        self.view.ring()
    }

    /// Whether `node` is up and its copy of `partition` answers for its places and counts.
    pub(super) fn is_serving(&self, node: &NodeName, partition: Partition) -> bool {
        self.view.is_up(node) && self.serving_totals(node, partition).is_some()
    }

    /// What `node` holds of `partition`, as far as it has reported.
    pub(super) fn serving_totals(&self, node: &NodeName, partition: Partition) -> Option<Totals> {
        self.serving.get(node)?.get(&partition).copied()
    }

    /// What the fullest owner of `partition` but `node` holds, as far as they have reported.
    pub(super) fn others_totals(&self, node: &NodeName, partition: Partition) -> Option<Totals> {
        let owners = self.ring().row(partition).iter();
        let others = owners.filter(|owner| *owner != node);
        let held = others.filter_map(|owner| self.serving_totals(owner, partition));
        held.max_by_key(|totals| totals.entries)
    }

    /// Partitions of whose keys somebody holds hints.
    pub(super) fn hinted(&self) -> BTreeSet<Partition> {
        let hints = self.reports.values().flat_map(|report| &report.hints);
        let held = hints.filter(|hint| hint.keys > 0);
        held.map(|hint| hint.copy.partition).collect()
    }

    /// Traces of what was deleted, once for each copy; and what those that are old enough to go wait for.
    pub(super) fn traces(&self) -> (u64, BTreeSet<String>) {
        let traces = self.reports.values().map(|report| report.traces).sum();
        let waits = self.reports.values();
        let waits = waits.filter_map(|report| report.reaping_waits_for.clone());
        (traces, waits.collect())
    }

    /// Keys for which somebody holds a hint, once for each holder.
    pub(super) fn hints(&self) -> u64 {
        let hints = self.reports.values().flat_map(|report| &report.hints);
        hints.map(|hint| hint.keys).sum()
    }

    /// Whether these hints are on their way to somebody who can be reached: others only wait.
    pub(super) fn can_drain(&self, hint: &HintReport) -> bool {
        let absent = &hint.waiting_for;
        hint.keys > 0 && (absent.is_empty() || absent.iter().any(|node| self.view.is_up(node)))
    }

    /// Whether every reachable member has reported this node's ring.
    pub(super) fn agrees(&self) -> bool {
        let (id, digest) = (self.view.id(), self.ring().digest().to_string());
        let mut reachable = self.view.peers_up().chain([self.view.me()]);
        reachable.all(|node| {
            let report = self.reports.get(node);
            report.is_some_and(|report| report.ring == Some(id) && report.digest == digest)
        })
    }
}

/// Clusters to make documents of.
#[cfg(test)]
pub(super) mod fixture {
    use rkv_ring::cluster::{Identity, Stored};
    use rkv_ring::plan::{commit, stage_join};
    use rkv_ring::{Addresses, ClusterId, Incarnation, Member, PartitionCount, Status, moves};
    use rkv_wire::message::{CopyId, CopyReport, TransferKind, TransferReport};

    use super::*;

    pub(in super::super) fn identity(i: u32) -> Identity {
        Identity {
            name: format!("node{i}").into(),
            incarnation: Incarnation(u128::from(i)),
            boot: 1,
            addresses: Addresses {
                peer: format!("127.0.0.1:8{i}99"),
                redis: format!("127.0.0.1:6{i}79"),
                http: format!("127.0.0.1:8{i}98"),
            },
            zone: None,
            weight: 1.0,
        }
    }

    /// The ring of node1 alone, 16 partitions and 3 replicas.
    pub(in super::super) fn founded() -> Ring {
        let q = PartitionCount::new(16).unwrap();
        let stored = Stored::found(&identity(1), ClusterId(7), "rkv", q, 3);
        (*stored.ring).clone()
    }

    /// `ring` with the joins of these nodes staged.
    pub(in super::super) fn joining(mut ring: Ring, nodes: &[u32]) -> Ring {
        for &i in nodes {
            let me = identity(i);
            let member = Member {
                incarnation: me.incarnation,
                status: Status::Joining,
                addresses: me.addresses,
                zone: None,
                weight: 1.0,
            };
            ring = stage_join(&ring, me.name, member, false).unwrap();
        }
        ring
    }

    /// node1 to node3, where the moves of the commit have begun.
    pub(in super::super) fn committed() -> Ring {
        commit(&joining(founded(), &[2, 3]), None, 0).unwrap()
    }

    /// node1 to node3 (more: to node`count`), settled.
    pub(in super::super) fn cluster(count: u32) -> Ring {
        let others: Vec<u32> = (2..=count).collect();
        let mut ring = commit(&joining(founded(), &others), None, 0).unwrap();
        while let Some(&partition) = ring.moves.keys().next() {
            moves::complete(&mut ring, partition);
        }
        ring
    }

    pub(in super::super) fn copy(partition: u16) -> CopyId {
        CopyId {
            service: KV,
            partition: Partition(partition),
        }
    }

    pub(in super::super) fn transfer(
        kind: TransferKind,
        partition: u16,
        from: &str,
        to: &str,
    ) -> TransferReport {
        TransferReport {
            kind,
            copy: copy(partition),
            from: from.into(),
            to: to.into(),
            active: false,
            settled: false,
            keys_done: 0,
            keys_total: 0,
            bytes_done: 0,
            bytes_total: 0,
            keys_per_s: 0,
            waiting_for: None,
            last_error: None,
        }
    }

    /// As node1 sees it: all members are up but `down`, and each that is has reported that it serves what it owns, 10
    /// keys and 1000 bytes a copy.
    pub(in super::super) fn survey(ring: Ring, down: &[&str]) -> Survey {
        let ring = Arc::new(ring);
        let mut view = View::new("node1".into(), ring.clone());
        let mut reports = BTreeMap::new();
        for name in ring.members.keys() {
            if down.contains(&name.as_str()) {
                continue;
            }
            view = view.with_node(name, true);
            let owned = ring.partitions.partitions().filter(|p| ring.owns(name, *p));
            let report = Report {
                ring: Some(ring.id()),
                digest: ring.digest().to_string(),
                version: "0.1.0".to_owned(),
                copies: owned
                    .map(|partition| CopyReport {
                        copy: copy(partition.0),
                        state: CopyState::Serving,
                        totals: Totals {
                            entries: 10,
                            bytes: 1000,
                            hash: 1,
                        },
                        live: 10,
                        whole: true,
                    })
                    .collect(),
                ..Report::default()
            };
            reports.insert(name.clone(), report);
        }
        Survey::new(Arc::new(view), reports)
    }

    /// The same survey, one report edited.
    pub(in super::super) fn reporting(
        survey: Survey,
        node: &str,
        edit: impl FnOnce(&mut Report),
    ) -> Survey {
        let mut reports = survey.reports;
        edit(reports.get_mut(&NodeName::from(node)).unwrap());
        Survey::new(survey.view, reports)
    }

    /// A document as its readers get it.
    pub(in super::super) fn json(document: &impl serde::Serialize) -> serde_json::Value {
        serde_json::to_value(document).unwrap()
    }
}
