//! This file answers: why is a request to change the cluster refused?

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::member::NodeName;

/// Why a request to change the cluster is refused: nothing has changed, and the message names what helps.
///
/// Shown it gives [`Refusal::word`], which scripts read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// A node was asked to join the cluster that it is in.
    SelfJoin,
    /// Only a node that is a cluster of its own can join another.
    NotSingleNode,
    /// The joiner was founded under another `cluster.name`.
    DifferentClusterName {
        /// The name of the cluster that was asked.
        ours: String,
        /// The joiner's.
        theirs: String,
    },
    /// The other side does not know the cluster's secret.
    WrongSecret,
    /// The joiner was founded with another number of partitions or replicas.
    DifferentRingSizes {
        /// Of the cluster that was asked.
        ours: u16,
        /// Of the joiner.
        theirs: u16,
    },
    /// Another life of a node has that name.
    DuplicateName {
        /// The name.
        node: NodeName,
    },
    /// A node that must take part does not answer.
    NotReachable {
        /// Which, or where it should be.
        node: NodeName,
    },
    /// No full member has that name.
    NotMember {
        /// The name.
        node: NodeName,
    },
    /// Nobody would be left to hand data off to.
    OnlyMember {
        /// The last that would go.
        node: NodeName,
    },
    /// The node is on its way out.
    AlreadyLeaving {
        /// Which.
        node: NodeName,
    },
    /// The node is to replace another one.
    AlreadyReplacement {
        /// Which.
        node: NodeName,
    },
    /// Only a node that is joining and has no other part can replace one.
    InvalidReplacement {
        /// Which.
        node: NodeName,
    },
    /// The node answers, so it cannot be marked down.
    NodeIsUp {
        /// Which.
        node: NodeName,
    },
    /// There is nothing to commit.
    NothingPlanned,
    /// The plan that was shown is not what a commit would do now.
    PlanChanged {
        /// The id that was given.
        seen: String,
        /// The plan's now.
        now: String,
        /// What is staged now.
        #[serde(default)]
        staged: Vec<String>,
    },
    /// No keyspace has that number.
    NoSuchKeyspace {
        /// Which.
        keyspace: u32,
    },
    /// The next ring could not be agreed on in time.
    NoMajority,
    /// Nobody has to be left behind: those who are there can decide.
    MajorityIsThere,
    /// What may be lost was not accepted.
    DataLoss {
        /// What, one each.
        losses: Vec<String>,
    },
}

impl Refusal {
    /// The word that scripts read.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::SelfJoin => "self_join",
            Refusal::NotSingleNode => "not_single_node",
            Refusal::DifferentClusterName { .. } => "different_cluster_name",
            Refusal::WrongSecret => "wrong_secret",
            Refusal::DifferentRingSizes { .. } => "different_ring_sizes",
            Refusal::DuplicateName { .. } => "duplicate_name",
            Refusal::NotReachable { .. } => "not_reachable",
            Refusal::NotMember { .. } => "not_member",
            Refusal::OnlyMember { .. } => "only_member",
            Refusal::AlreadyLeaving { .. } => "already_leaving",
            Refusal::AlreadyReplacement { .. } => "already_replacement",
            Refusal::InvalidReplacement { .. } => "invalid_replacement",
            Refusal::NodeIsUp { .. } => "node_is_up",
            Refusal::NothingPlanned => "nothing_planned",
            Refusal::PlanChanged { .. } => "plan_changed",
            Refusal::NoSuchKeyspace { .. } => "no_such_keyspace",
            Refusal::NoMajority => "no_majority",
            Refusal::MajorityIsThere => "majority_is_there",
            Refusal::DataLoss { .. } => "data_loss",
        }
    }

    /// What a person is told: what is the matter, and the key or command that helps.
    pub fn message(&self) -> String {
        match self {
            Refusal::SelfJoin => {
                "a node cannot join the cluster that it is in: give the peer address of a node of another one".into()
            }
            Refusal::NotSingleNode => {
                "this node is in a cluster with others: see `rkv cluster members`, and `rkv cluster leave` it first"
                    .into()
            }
            Refusal::DifferentClusterName { ours, theirs } => format!(
                "the cluster is named {ours:?} and the joining node was founded as {theirs:?}: set its \
                 `cluster.name` to {ours:?} and start it on an empty `node.data_dir`"
            ),
            Refusal::WrongSecret => {
                "the secrets differ: set `cluster.secret` (or `cluster.secret_file`) to that of the cluster".into()
            }
            Refusal::DifferentRingSizes { ours, theirs } => format!(
                "the cluster has {ours} and the joining node was founded with {theirs}: set its `ring.partitions` \
                 and `ring.replicas` to the cluster's and start it on an empty `node.data_dir`"
            ),
            Refusal::DuplicateName { node } => format!(
                "the cluster has another node named {node}, and it answers: give this one a `node.name` of its own, or \
                 let the other one go first with `rkv cluster leave {node}`"
            ),
            Refusal::NotReachable { node } => format!(
                "{node} does not answer: see that it runs and that its `advertise.peer` can be reached from here; a \
                 member that is lost for good goes with `rkv cluster remove {node}`"
            ),
            Refusal::NotMember { node } => {
                format!("{node} is no full member: `rkv cluster members` lists them")
            }
            Refusal::OnlyMember { node } => format!(
                "without {node} nobody is left to take its data: `rkv cluster join` another node first"
            ),
            Refusal::AlreadyLeaving { node } => {
                format!("{node} is leaving already: `rkv cluster transfers` shows how far it is")
            }
            Refusal::AlreadyReplacement { node } => format!(
                "{node} is to replace another node already: see `rkv cluster plan`, or `rkv cluster clear` it"
            ),
            Refusal::InvalidReplacement { node } => format!(
                "{node} cannot replace another node: only one that is joining can, so `rkv cluster join` it first"
            ),
            Refusal::NodeIsUp { node } => format!(
                "{node} is up, and only a node that does not answer is marked down: let it go with `rkv cluster leave \
                 {node}`, or stop it first"
            ),
            Refusal::NothingPlanned => {
                "nothing is staged: stage a change first, with `rkv cluster join`, `leave` or another".into()
            }
            Refusal::PlanChanged { seen, now, staged } => format!(
                "the plan is no longer {seen} but {now}: what is staged or who owns what has changed since. Staged \
                 now: {}. Read `rkv cluster plan` again",
                staged.join(", ")
            ),
            Refusal::NoSuchKeyspace { keyspace } => format!(
                "no keyspace has the number {keyspace}; `default` is 0"
            ),
            Refusal::NoMajority => {
                "the next ring was not agreed on in time and may still come: see `rkv cluster status` for members \
                 that do not answer, and `rkv cluster plan` for what is staged; when a majority is gone for good: \
                 `rkv cluster recover`"
                    .into()
            }
            Refusal::MajorityIsThere => {
                "a majority of the members answers, so nothing has to be given up: let lost nodes go with `rkv \
                 cluster remove`"
                    .into()
            }
            Refusal::DataLoss { losses } => format!(
                "this may lose data: {}. If these nodes are gone for good, ask again with `--accept-data-loss`",
                losses.join("; ")
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Refusal> {
        let node = NodeName::from("node2");
        let text = String::from("rkv");
        vec![
            Refusal::SelfJoin,
            Refusal::NotSingleNode,
            Refusal::DifferentClusterName {
                ours: text.clone(),
                theirs: text.clone(),
            },
            Refusal::WrongSecret,
            Refusal::DifferentRingSizes {
                ours: 64,
                theirs: 16,
            },
            Refusal::DuplicateName { node: node.clone() },
            Refusal::NotReachable { node: node.clone() },
            Refusal::NotMember { node: node.clone() },
            Refusal::OnlyMember { node: node.clone() },
            Refusal::AlreadyLeaving { node: node.clone() },
            Refusal::AlreadyReplacement { node: node.clone() },
            Refusal::InvalidReplacement { node: node.clone() },
            Refusal::NodeIsUp { node },
            Refusal::NothingPlanned,
            Refusal::PlanChanged {
                seen: text.clone(),
                now: text,
                staged: Vec::new(),
            },
            Refusal::NoSuchKeyspace { keyspace: 7 },
            Refusal::NoMajority,
            Refusal::MajorityIsThere,
            Refusal::DataLoss {
                losses: vec!["a".into()],
            },
        ]
    }

    /// Lost without it: scripts that read the words, and nodes that send refusals on, would misunderstand.
    #[test]
    fn words_are_those_promised_and_travel() {
        let words: Vec<&str> = all().iter().map(Refusal::word).collect();
        assert_eq!(
            words.join(" "),
            "self_join not_single_node different_cluster_name wrong_secret different_ring_sizes duplicate_name \
             not_reachable not_member only_member already_leaving already_replacement invalid_replacement \
             node_is_up nothing_planned plan_changed no_such_keyspace no_majority \
             majority_is_there data_loss"
        );
        for refusal in all() {
            let bytes = rmp_serde::to_vec_named(&refusal).unwrap();
            assert_eq!(rmp_serde::from_slice::<Refusal>(&bytes).unwrap(), refusal);
            let word = refusal.word().as_bytes();
            assert!(
                bytes.windows(word.len()).any(|part| part == word),
                "sent under its word"
            );
            assert_eq!(refusal.to_string().as_bytes(), word);
        }
    }

    /// Lost without it: an operator would read that something is wrong and not what to do.
    #[test]
    fn messages_name_what_helps() {
        for refusal in all() {
            let message = refusal.message();
            assert!(
                message.contains('`') || message.contains("give the peer address"),
                "{message}"
            );
        }
    }
}
