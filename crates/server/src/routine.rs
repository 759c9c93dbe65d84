//! This file answers: what does a node do by itself?
//!
//! It tells its machines the time, carries the ring's keeper, and asks its seeds to let it join.

use std::sync::Weak;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Context as _;
use rkv_cluster::keeper::Keeper;
use rkv_kv::Engine;
use rkv_ring::cluster::{AdminRequest, Event};

/// How often time is told to the machines.
pub(crate) const TICK: Duration = Duration::from_millis(25);
/// How often transfers that gave way to requests go on.
const GO_ON: Duration = Duration::from_millis(2);
/// How often a node without a cluster tries its seeds.
const SEED_AGAIN: Duration = Duration::from_secs(2);

/// The keeper's thread: it may wait for the disk, which no other thread of a node does for a ring.
pub(crate) fn keep(
    mut keeper: Keeper,
    inbox: Receiver<Event>,
    engine: Weak<Engine>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let run = move || {
        while let Ok(event) = inbox.recv() {
            let Some(engine) = engine.upgrade() else {
                return;
            };
            keeper.step(engine.now_ms(), event, &*engine);
        }
    };
    let thread = std::thread::Builder::new().name("keeper".to_owned());
    thread.spawn(run).context("cannot start the keeper")
}

pub(crate) async fn tick(engine: Weak<Engine>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.tick();
    }
}

/// Lets transfers go on that gave way to requests.
pub(crate) async fn go_on(engine: Weak<Engine>) {
    loop {
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let pause = if engine.go_on() { GO_ON } else { TICK };
        drop(engine);
        tokio::time::sleep(pause).await;
    }
}

/// A node without a cluster stages a join through the first seed that answers; a person commits.
pub(crate) async fn join_seeds(seeds: Vec<String>, engine: Weak<Engine>) {
    loop {
        for seed in &seeds {
            let Some(engine) = engine.upgrade() else {
                return;
            };
            if engine.view().ring().members.len() > 1 {
                return;
            }
            let (tell, told) = tokio::sync::oneshot::channel();
            let request = AdminRequest::Join { peer: seed.clone() };
            engine.admin(
                request,
                Box::new(move |result| {
                    let _ = tell.send(result);
                }),
            );
            drop(engine);
            match told.await {
                Ok(Ok(_)) => {
                    tracing::info!(seed, "join staged; commit it with: rkv cluster commit");
                    return;
                }
                Ok(Err(refusal)) => tracing::warn!(seed, "cannot join: {}", refusal.message()),
                Err(_) => return,
            }
        }
        if seeds.is_empty() {
            return;
        }
        tokio::time::sleep(SEED_AGAIN).await;
    }
}
