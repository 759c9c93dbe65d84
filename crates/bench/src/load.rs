//! This file answers: how do the keys get there that a run presumes?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::driver::{Call, Connection, Failed, Target};
use crate::keys::Key;
use crate::plan::{BenchError, Driver, Plan};
use crate::values::Pool;

/// Tasks that load at least: a run of one worker need not wait for one to load.
const LOADERS_LEAST: usize = 16;
/// SETs in one write.
const REDIS_BATCH: u64 = 64;
/// How often a put is tried.
const TRIES: usize = 5;

/// Writes every key that the plan's operations presume, each with a value of its own.
pub(crate) async fn load(plan: &Plan, target: &Target, pool: &Pool) -> Result<(), BenchError> {
    let next = Arc::new(AtomicU64::new(0));
    let mut loaders = JoinSet::new();
    for number in 0..plan.workers.max(LOADERS_LEAST) {
        let loader = Loader {
            plan: plan.clone(),
            connection: target.connection(number).await?,
            pool: pool.clone(),
            rng: plan.seed.rng(u32::MAX, number as u32),
            next: next.clone(),
        };
        loaders.spawn(loader.run());
    }
    while let Some(ended) = loaders.join_next().await {
        let loaded = ended.map_err(|error| BenchError::Failed(format!("loading: {error}")))?;
        loaded.map_err(|failed| {
            BenchError::Failed(format!(
                "cannot load the keys that are to be read: {}",
                failed.message
            ))
        })?;
    }
    Ok(())
}

struct Loader {
    plan: Plan,
    connection: Connection,
    pool: Pool,
    rng: ChaCha8Rng,
    next: Arc<AtomicU64>,
}

impl Loader {
    async fn run(mut self) -> Result<(), Failed> {
        let count = self.plan.keys.count();
        let together = match self.plan.driver {
            Driver::Redis => REDIS_BATCH,
            Driver::Native | Driver::Quorum => 1,
        };
        loop {
            let first = self.next.fetch_add(together, Ordering::Relaxed);
            if first >= count {
                return Ok(());
            }
            let numbers = first..(first + together).min(count);
            let calls: Vec<Call> = numbers.map(|number| self.call(number)).collect();
            self.put(&calls).await?;
        }
    }

    fn call(&mut self, number: u64) -> Call {
        let piece = self.plan.values.draw(&mut self.rng);
        Call {
            key: Key::of(number),
            put: Some(self.pool.value(piece)),
        }
    }

    /// Again and again: to load a key twice does no harm.
    async fn put(&mut self, calls: &[Call]) -> Result<(), Failed> {
        let mut tried = 1;
        loop {
            let within: Duration = self.plan.timeout * 2;
            let put = timeout(within, put_once(&mut self.connection, calls)).await;
            let put = put.unwrap_or_else(|_| Err(Failed::new("timeout", "no answer in time")));
            match put {
                Err(_) if tried < TRIES => self.connection.give_up(),
                ended => return ended,
            }
            tried += 1;
        }
    }
}

async fn put_once(connection: &mut Connection, calls: &[Call]) -> Result<(), Failed> {
    connection.send(calls).await?;
    let mut put = Ok(());
    for call in calls {
        let answer = connection.answer(call).await;
        put = put.and(answer.map(drop));
    }
    put
}
