//! This file answers: how does rkv stand against others, on this machine, in one run?
//!
//! Eight cases, each with a goal. Both sides of a case are started beforehand and asked in turns, round by round, the first
//! of a round being the second of the next; what a round gives is a ratio. Told are the median of the ratios and how far apart they are.
//!
//! [`spread`] medians and ratios · [`table`] what is told · [`stage`] who is started · [`benchmark`] redis-benchmark ·
//! [`asking`] connections of our own · the cases: `one_node` 1 and 2 · `three_nodes` 3 and 4 · `waited` 5 · `memory` 6 ·
//! `handoff` 7 and 8.

pub mod asking;
pub mod benchmark;
mod handoff;
mod memory;
mod one_node;
pub mod spread;
pub mod stage;
pub mod table;
mod three_nodes;
mod waited;

use anyhow::Result;

use self::table::{Case, Line};

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Rounds of each case.
    pub rounds: usize,
    /// As little as shows that it works; the figures mean nothing.
    pub is_quick: bool,
}

impl Extent {
    /// A size: the whole one, or the quick one.
    pub fn of(&self, whole: usize, quick: usize) -> usize {
        if self.is_quick { quick } else { whole }
    }
}

/// Runs one case of [`CASES`]. A peer that is not installed is a line that says so.
pub fn run(case: u8, extent: Extent) -> Result<Vec<Line>> {
    match case {
        1 => one_node::in_memory(extent),
        2 => one_node::durable(extent),
        3 => three_nodes::plain(extent),
        4 => three_nodes::many_at_once(extent),
        5 => waited::against_redis_cluster(extent),
        6 => memory::per_key(extent),
        7 => handoff::reads_meanwhile(extent),
        8 => handoff::keys_per_second(extent),
        _ => anyhow::bail!("there is no case {case}: name one of 1 to {}", CASES.len()),
    }
}

/// The cases, in their order.
pub const CASES: [Case; 8] = [
    Case {
        number: 1,
        what: "one node, memory, against redis-server without a log",
    },
    Case {
        number: 2,
        what: "one node, fjall, always synced, against appendfsync always",
    },
    Case {
        number: 3,
        what: "three nodes, n=3 r=w=2, memory, against Erlang rkv with one replica",
    },
    Case {
        number: 4,
        what: "three nodes, n=3 r=w=2, memory, many at once, against Erlang rkv's quorum calls",
    },
    Case {
        number: 5,
        what: "three nodes, n=3 w=2, memory, against Redis Cluster 3+3, SET then WAIT 1",
    },
    Case {
        number: 6,
        what: "memory per key, against redis-server",
    },
    Case {
        number: 7,
        what: "p99 of 500 reads a second during a handoff, against before it",
    },
    Case {
        number: 8,
        what: "handoff, keys a second",
    },
];

/// Asks two sides in turns: `rounds` pairs of what each gave, the first side's first in each pair.
fn in_turns<T>(
    rounds: usize,
    mut rkv: impl FnMut() -> Result<T>,
    mut peer: impl FnMut() -> Result<T>,
) -> Result<Vec<(T, T)>> {
    let mut pairs = Vec::with_capacity(rounds);
    for round in 0..rounds {
        pairs.push(match round % 2 {
            0 => {
                let ours = rkv()?;
                (ours, peer()?)
            }
            _ => {
                let theirs = peer()?;
                (rkv()?, theirs)
            }
        });
    }
    Ok(pairs)
}

/// A figure of a case: what it is, against whom, in which unit, and its goal.
type Figure = (&'static str, &'static str, &'static str, table::Goal);

/// Lines of figures that were taken together, round by round.
fn lines<const N: usize>(
    case: u8,
    figures: [Figure; N],
    pairs: &[([f64; N], [f64; N])],
) -> Vec<Line> {
    let line = |(at, (what, against, unit, goal)): (usize, Figure)| {
        Line::Measured(table::Measured {
            case,
            what: what.to_owned(),
            against: against.to_owned(),
            unit,
            rkv: pairs.iter().map(|(rkv, _)| rkv[at]).collect(),
            peer: pairs.iter().map(|(_, peer)| peer[at]).collect(),
            goal,
        })
    };
    figures.into_iter().enumerate().map(line).collect()
}
