//! This file answers: which commands are there for clients that know of clusters?

use super::COMMAND;
use crate::Name;
use crate::command::Spec;

const FOR_CLUSTERS: Spec = Spec {
    flags: &["loading", "stale", "fast"],
    categories: &["@fast", "@connection"],
    group: "cluster",
    ..COMMAND
};

const QUESTION: Spec = Spec {
    flags: &["stale"],
    categories: &["@slow"],
    since: "3.0.0",
    group: "cluster",
    ..COMMAND
};

const CHANGE: Spec = Spec {
    flags: &["admin", "stale", "no_async_loading"],
    categories: &["@admin", "@slow", "@dangerous"],
    ..QUESTION
};

/// READONLY and its like, and CLUSTER.
pub(super) const CLUSTER: &[Spec] = &[
    Spec {
        name: Name::ReadOnly,
        text: "readonly",
        arity: 1,
        summary: "Accepted for cluster clients; any node reads any key.",
        since: "3.0.0",
        differences: "Changes nothing.",
        ..FOR_CLUSTERS
    },
    Spec {
        name: Name::ReadWrite,
        text: "readwrite",
        arity: 1,
        summary: "Accepted for cluster clients; any node takes any key.",
        since: "3.0.0",
        differences: "Changes nothing.",
        ..FOR_CLUSTERS
    },
    Spec {
        name: Name::Asking,
        text: "asking",
        arity: 1,
        flags: &["fast"],
        summary: "Accepted for cluster clients; any node takes any key.",
        since: "3.0.0",
        differences: "Changes nothing.",
        ..FOR_CLUSTERS
    },
    Spec {
        name: Name::Cluster,
        text: "cluster",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for questions about the ring.",
        since: "3.0.0",
        group: "cluster",
        subcommands: CLUSTER_SUBCOMMANDS,
        ..COMMAND
    },
];

const CLUSTER_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ClusterSlots,
        text: "cluster|slots",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Returns the ring as ranges of slots, one a partition, each with its live owners, the first replica first.",
        differences: "Owners that are down are left out.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterShards,
        text: "cluster|shards",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Returns the ring as partitions of the same owners, with what is known of each.",
        since: "7.0.0",
        differences: "A shard is a row of the ring; a node is in as many as it owns.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterNodes,
        text: "cluster|nodes",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Returns the members, a line each, with the slots of which each is the first live replica.",
        differences: "Every node is a master: there is no replica that is none. A node that is down shows `fail` and no slots.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterInfo,
        text: "cluster|info",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Returns the state of the ring.",
        differences: "`fail` only where a slot has no quorum; an epoch is the ring's.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterMyId,
        text: "cluster|myid",
        arity: 2,
        summary: "Returns the id of this node.",
        differences: "Made of the node's name and the life of its data folder.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterMyShardId,
        text: "cluster|myshardid",
        arity: 2,
        summary: "Returns the id of this node's shard.",
        since: "7.2.0",
        differences: "Each node is a shard of its own.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterKeySlot,
        text: "cluster|keyslot",
        arity: 3,
        usage: "key",
        summary: "Returns the slot of a key.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterLinks,
        text: "cluster|links",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Returns the members that this node is linked with.",
        since: "7.0.0",
        differences: "One entry for each live peer and direction; buffers are not told.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterCountFailureReports,
        text: "cluster|count-failure-reports",
        arity: 3,
        flags: &["admin", "stale"],
        categories: &["@admin", "@slow", "@dangerous"],
        tips: &["nondeterministic_output"],
        usage: "node-id",
        summary: "Returns how many nodes are known to suspect a node.",
        differences: "Each node judges for itself: 1 while this node suspects it.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterReplicas,
        text: "cluster|replicas",
        arity: 3,
        flags: &["admin", "stale"],
        categories: &["@admin", "@slow", "@dangerous"],
        tips: &["nondeterministic_output"],
        usage: "node-id",
        summary: "Returns the replicas of a node.",
        since: "5.0.0",
        differences: "Always empty: every node is a master.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterSlaves,
        text: "cluster|slaves",
        arity: 3,
        flags: &["admin", "stale"],
        categories: &["@admin", "@slow", "@dangerous"],
        tips: &["nondeterministic_output"],
        usage: "node-id",
        summary: "Returns the replicas of a node, under its old name.",
        differences: "Always empty: every node is a master.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterMeet,
        text: "cluster|meet",
        arity: -4,
        usage: "ip port [cluster-bus-port]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterForget,
        text: "cluster|forget",
        arity: 3,
        usage: "node-id",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterSetSlot,
        text: "cluster|setslot",
        arity: -4,
        usage: "slot IMPORTING node-id|MIGRATING node-id|NODE node-id|STABLE",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterFailover,
        text: "cluster|failover",
        arity: -2,
        usage: "[FORCE|TAKEOVER]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterReset,
        text: "cluster|reset",
        arity: -2,
        flags: &["admin", "noscript", "stale"],
        usage: "[HARD|SOFT]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterReplicate,
        text: "cluster|replicate",
        arity: 3,
        usage: "node-id",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterAddSlots,
        text: "cluster|addslots",
        arity: -3,
        usage: "slot [slot ...]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterAddSlotsRange,
        text: "cluster|addslotsrange",
        arity: -4,
        usage: "start-slot end-slot [start-slot end-slot ...]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        since: "7.0.0",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterDelSlots,
        text: "cluster|delslots",
        arity: -3,
        usage: "slot [slot ...]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterDelSlotsRange,
        text: "cluster|delslotsrange",
        arity: -4,
        usage: "start-slot end-slot [start-slot end-slot ...]",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        since: "7.0.0",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterFlushSlots,
        text: "cluster|flushslots",
        arity: 2,
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterBumpEpoch,
        text: "cluster|bumpepoch",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterSaveConfig,
        text: "cluster|saveconfig",
        arity: 2,
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterSetConfigEpoch,
        text: "cluster|set-config-epoch",
        arity: 3,
        usage: "config-epoch",
        summary: "Refused; `rkv cluster join`, `plan` and `commit` change who owns what.",
        differences: "Refused: the ring is changed by plans that a person commits.",
        ..CHANGE
    },
    Spec {
        name: Name::ClusterCountKeysInSlot,
        text: "cluster|countkeysinslot",
        arity: 3,
        usage: "slot",
        summary: "Counts the keys of a slot, wherever it is held.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterGetKeysInSlot,
        text: "cluster|getkeysinslot",
        arity: 4,
        tips: &["nondeterministic_output"],
        usage: "slot count",
        summary: "Returns keys of a slot, wherever it is held.",
        ..QUESTION
    },
    Spec {
        name: Name::ClusterHelp,
        text: "cluster|help",
        arity: 2,
        flags: &["loading", "stale"],
        summary: "Prints this help.",
        since: "5.0.0",
        differences: "Tells the subcommands that are here.",
        ..QUESTION
    },
];
