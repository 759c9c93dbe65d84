//! This file answers: in which order does the program open its doors, and close them?
//!
//! Up: the listeners' sockets, the node ([`rkv_server`]), and last the doors for clients. Down: the same in reverse, each
//! part finishing what it has begun.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rkv_kv::Bounds;
use rkv_quorum::policy::Defaults;
use rkv_ring::{Addresses, NodeName, PartitionCount};
use rkv_server::{Node, Settings, Switches};
use rkv_wire::before_sleep;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::config::{Config, Secret};
use crate::http::{self, FaultsHandle, Http, NodeState, Patience, Watched};
use crate::process;
use crate::redis::{self, RedisConfig, Threads};

/// How long a stop waits for requests under way.
const FINISH: Duration = Duration::from_secs(6);
/// How long a node that the cluster let go still answers, so that its clients hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs one node until it is told to stop.
pub(crate) fn run(config: Config, faults: bool) -> anyhow::Result<()> {
    config.check_doors()?;
    process::raise_open_files(u64::from(config.limits.connections));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of the cores for what comes one by one, the clients' and the peers' own work taking the rest.
    let node = runtime("rkv", cores.div_ceil(2))?;
    let pipelines = (0..cores).map(|_| runtime("rkv-pipelines", 1));
    let pipelines: Vec<Runtime> = pipelines.collect::<anyhow::Result<_>>()?;
    let threads = Threads {
        calls: node.handle().clone(),
        pipelines: pipelines.iter().map(|it| it.handle().clone()).collect(),
    };
    node.block_on(serve(config, threads, faults))
}

fn runtime(name: &str, threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder
        .enable_all()
        .on_thread_park(before_sleep::let_others_go)
        .worker_threads(threads)
        .thread_name(name)
        .build();
    built.with_context(|| format!("cannot start the {threads} threads of {name}"))
}

async fn serve(config: Config, threads: Threads, faults: bool) -> anyhow::Result<()> {
    let Listeners {
        redis: redis_listener,
        peer,
        http: http_listener,
        addresses,
    } = Listeners::bind(&config).await?;
    let switches = Switches::default();
    let settings = settings(&config, addresses.clone())?;
    let node = Node::start(&settings, peer, switches.clone())?;

    let state = Arc::new(NodeState::default());
    let (stop, stopped) = watch::channel(false);
    let handle = faults.then(|| FaultsHandle::new(switches.links, switches.disk));
    let token = config.http.token.as_ref().map(|t| t.expose().to_owned());
    let redis_config = redis_config(&config, &addresses);
    let watched = Watched {
        backend: config.storage.backend.to_string(),
        redis: redis_config.figures.clone(),
    };
    let http = Http::new(
        node.engine().clone(),
        token,
        handle,
        state.clone(),
        watched,
        Patience::default(),
    );
    let router = http::router(http);
    let mut http_stop = stopped.clone();
    let http = tokio::spawn(http::serve(
        http_listener,
        router,
        Patience::default(),
        async move {
            let _ = http_stop.wait_for(|stop| *stop).await;
        },
    ));
    let redis = tokio::spawn(redis::serve(
        redis_listener,
        node.engine().clone(),
        redis_config,
        threads,
        stopped,
    ));
    state.set_ready();
    announce(&addresses)?;

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
        () = node.let_go() => {
            tracing::info!("stopping: the cluster let this node go");
            tokio::time::sleep(FAREWELL).await;
        }
        part = node.broken() => {
            // Who half lives answers some and keeps others waiting; whoever is dead is missed, and waited for by nobody.
            let _ = tokio::time::timeout(FINISH, node.kill()).await;
            anyhow::bail!(
                "{part} has ended by a fault of ours, so this node ends as by a crash; start it again, and report what the log says"
            );
        }
    }
    state.set_draining();
    node.say_goodbye();
    stop.send_replace(true);
    let finished = tokio::time::timeout(FINISH, async {
        let _ = redis.await;
        let _ = http.await;
        node.finished().await;
    });
    if finished.await.is_err() {
        tracing::warn!("requests were still under way after {FINISH:?}");
    }
    node.close().await
}

/// What the node itself is told.
fn settings(config: &Config, addresses: Addresses) -> anyhow::Result<Settings> {
    let expose = |secret: &Secret| secret.expose().to_owned();
    Ok(Settings {
        name: NodeName::from(config.node.name.as_str()),
        data_dir: config.node.data_dir.clone(),
        zone: config.node.zone.clone(),
        weight: config.node.weight,
        addresses,
        cluster: config.cluster.name.clone(),
        secret: config.cluster.secret.as_ref().map(expose),
        client_secret: config.cluster.client_secret.as_ref().map(expose),
        seeds: config.cluster.seeds.clone(),
        gossip_interval: Duration::from_millis(config.cluster.gossip_interval_ms),
        partitions: PartitionCount::new(config.ring.partitions)?,
        replicas: config.ring.replicas,
        backend: config.storage.backend,
        durability: config.storage.durability,
        sync_interval: Duration::from_millis(config.storage.sync_interval_ms),
        defaults: Defaults {
            n: config.default.n,
            r: config.default.r,
            w: config.default.w,
            timeout_ms: config.request.timeout_ms,
            ..Defaults::default()
        },
        bounds: Bounds {
            key_bytes: config.limits.key_bytes as usize,
            value_bytes: config.limits.value_bytes as usize,
            ..Bounds::default()
        },
        transfers: config.transfers.limit as usize,
        bytes_per_s: config.transfers.bytes_per_s.unwrap_or(0),
        grace: Duration::from_secs(config.transfers.grace_s),
        delete_grace: Duration::from_secs(config.delete.grace_s),
        max_drift_ms: config.clock.max_drift_ms,
    })
}

fn redis_config(config: &Config, addresses: &Addresses) -> RedisConfig {
    let expose = |secret: &Secret| secret.expose().to_owned();
    let users = config.redis.users.iter();
    RedisConfig {
        password: config.redis.password.as_ref().map(expose),
        users: users
            .map(|(name, secret)| (name.clone(), expose(secret)))
            .collect(),
        databases: config.redis.databases.clone(),
        connections: config.limits.connections as usize,
        announced: addresses.redis.clone(),
        ..RedisConfig::default()
    }
}

/// The one line that scripts wait for.
fn announce(addresses: &Addresses) -> anyhow::Result<()> {
    let Addresses { redis, peer, http } = addresses;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready redis={redis} peer={peer} http={http}")?;
    Ok(stdout.flush()?)
}

/// The three listeners, bound before anything is opened: a port in use must cost nothing.
struct Listeners {
    redis: TcpListener,
    peer: TcpListener,
    http: TcpListener,
    /// What others are told.
    addresses: Addresses,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Listeners> {
        let listen = &config.listen;
        let redis = bind("listen.redis", &listen.redis).await?;
        let peer = bind("listen.peer", &listen.peer).await?;
        let http = bind("listen.http", &listen.http).await?;
        let told = |advertised: &Option<String>, listener: &TcpListener| {
            let local = listener.local_addr();
            match advertised {
                Some(address) => Ok(address.clone()),
                None => local.map(|address| address.to_string()),
            }
        };
        let addresses = Addresses {
            redis: told(&config.advertise.redis, &redis)?,
            peer: told(&config.advertise.peer, &peer)?,
            http: told(&config.advertise.http, &http)?,
        };
        Ok(Listeners {
            redis,
            peer,
            http,
            addresses,
        })
    }
}

async fn bind(key: &str, address: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| {
        format!("cannot listen on {key} = {address}; is it in use? Set {key} to a free address")
    })
}
