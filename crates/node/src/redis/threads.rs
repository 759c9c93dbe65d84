//! This file answers: on which threads does a connection run?
//!
//! One whose client sends a request at a time costs mostly system calls: more threads than these need wake each other up,
//! and take the machine from clients and peers. One whose client pipelines brings work with each read, and all cores serve it,
//! each a share of the connections: threads that help each other out sleep and wake more than they help. So a connection begins
//! on the node's own threads, and moves when its client is seen to have the other habit.

use std::io;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::connection::Connection;

/// From so many requests that come together, in sixteenths of one and on average, a connection pipelines.
const PIPELINES: u32 = 4 * 16;
/// Up to so many it does so no more.
const CALLS: u32 = 2 * 16;
/// What counts of one turn at most: one large pipeline is no habit.
const MOST: u32 = 32 * 16;
/// One turn counts as one part in so many.
const MEMORY: u32 = 16;

/// How a client sends its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Habit {
    /// One at a time, or a few.
    #[default]
    Calls,
    /// Many together.
    Pipelines,
}

/// What a connection has shown of its habit.
#[derive(Debug, Default)]
pub(super) struct Habits {
    /// How many requests came together of late, in sixteenths.
    depth: u32,
    now: Habit,
}

impl Habits {
    /// So many requests came together.
    pub(super) fn came(&mut self, requests: u64) {
        if requests == 0 {
            return;
        }
        let requests = u32::try_from(requests).unwrap_or(MOST);
        let depth = requests.saturating_mul(16).min(MOST);
        self.depth = (self.depth * (MEMORY - 1) + depth) / MEMORY;
        self.now = match self.now {
            Habit::Calls if self.depth >= PIPELINES => Habit::Pipelines,
            Habit::Pipelines if self.depth <= CALLS => Habit::Calls,
            same => same,
        };
    }

    pub(super) fn now(&self) -> Habit {
        self.now
    }
}

/// Threads for each habit.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    /// The node's own: its links and its other doors run there too.
    pub(crate) calls: Handle,
    /// Those for pipelines, each with connections of its own.
    pub(crate) pipelines: Vec<Handle>,
}

/// A connection on its way to other threads.
pub(super) struct Moving {
    pub(super) connection: Connection,
    pub(super) stream: std::net::TcpStream,
}

impl Threads {
    /// Goes on with a connection where it belongs.
    pub(super) fn take_in(
        &self,
        moving: Box<Moving>,
        connections: &mut JoinSet<Option<Box<Moving>>>,
    ) {
        let threads = match moving.connection.habit() {
            Habit::Calls => &self.calls,
            Habit::Pipelines => self.least_taken(),
        };
        connections.spawn_on(go_on(moving), threads);
    }

    /// The thread for pipelines that has the fewest connections.
    fn least_taken(&self) -> &Handle {
        let connections = |thread: &&Handle| thread.metrics().num_alive_tasks();
        let least_taken = self.pipelines.iter().min_by_key(connections);
        least_taken.unwrap_or(&self.calls)
    }
}

async fn go_on(moving: Box<Moving>) -> Option<Box<Moving>> {
    let Moving { connection, stream } = *moving;
    match TcpStream::from_std(stream) {
        Ok(stream) => connection.run(stream).await,
        Err(error) => lost(&error),
    }
}

/// It could not be moved.
pub(super) fn lost(error: &io::Error) -> Option<Box<Moving>> {
    tracing::warn!("a redis connection was lost on its way to other threads: {error}");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: clients that greet with a few requests count as pipelining, or one that is in between moves to
    /// and fro.
    #[test]
    fn a_habit_is_what_was_done_for_a_while() {
        let mut habits = Habits::default();
        habits.came(8);
        for _ in 0..100 {
            habits.came(1);
        }
        habits.came(1_000);
        assert_eq!(habits.now(), Habit::Calls, "once is no habit");
        for _ in 0..10 {
            habits.came(16);
        }
        assert_eq!(habits.now(), Habit::Pipelines);
        for _ in 0..100 {
            habits.came(3);
            habits.came(0);
        }
        assert_eq!(habits.now(), Habit::Pipelines, "in between is as before");
        for _ in 0..100 {
            habits.came(1);
        }
        assert_eq!(habits.now(), Habit::Calls);
        for _ in 0..100 {
            habits.came(3);
        }
        assert_eq!(habits.now(), Habit::Calls, "in between is as before");
    }
}
