//! This file answers: in which order do the parts of a node come up, and go down?
//!
//! Up: folder, ring, store, sockets, vnodes, keeper, gossip, and last the doors for clients. Down: the same in reverse,
//! each part finishing what it has begun.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use rkv_cluster::gossip::{Chat, ChatConfig, Gossip, GossipEvent};
use rkv_cluster::identity::{self, Identity};
use rkv_cluster::keeper::{Keeper, RingStore as _};
use rkv_cluster::ring_file::RingFile;
use rkv_kv::{Bounds, Engine, Keyspace, KvService};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::Defaults;
use rkv_ring::cluster::{self, AdminRequest, Cluster, Event, Stored};
use rkv_ring::{Addresses, ClusterId, NodeName, PartitionCount};
use rkv_storage::{Durability, Store};
use rkv_vnode::ping::Ping;
use rkv_vnode::{Beginning, Fault, Host, Service, Settings, World};
use rkv_wire::faults::FaultSwitch;
use rkv_wire::handshake::{self, Role, Secrets};
use rkv_wire::tcp::{TcpConfig, TcpTransport, Timings};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{Config, Secret};
use crate::http::{self, FaultsHandle, Http, NodeState, Patience, Watched};
use crate::process;
use crate::redis::{self, RedisConfig};
use crate::world::{Inbox, RealWorld};

/// How often time is told to the machines.
const TICK: Duration = Duration::from_millis(25);
/// How long a stop waits for requests under way.
const FINISH: Duration = Duration::from_secs(6);
/// How long a node that the cluster let go still answers, so that its clients hear of it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often a node without a cluster tries its seeds.
const SEED_AGAIN: Duration = Duration::from_secs(2);
/// How often quiet copies are compared with a peer's.
const ANTI_ENTROPY_MS: u64 = 10_000;
/// Protocol versions that this program speaks.
const PROTOCOL: (u16, u16) = (1, 1);

/// Runs one node until it is told to stop.
pub(crate) fn run(config: Config, faults: bool) -> anyhow::Result<()> {
    config.check_doors()?;
    process::raise_open_files(u64::from(config.limits.connections));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("rkv")
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config, faults))
}

/// Everything that is open, so that it can be closed in order.
struct Node {
    identity: Identity,
    store: Arc<dyn Store>,
    engine: Arc<Engine>,
    transport: Arc<TcpTransport>,
    gossip: Arc<Chat>,
    keeper: std::thread::JoinHandle<()>,
    world: Arc<RealWorld>,
}

async fn serve(config: Config, faults: bool) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&config).await?;
    let links = Arc::new(FaultSwitch::new());
    let disk = rkv_storage::Faults::default();
    let (left, mut let_go) = watch::channel(false);
    let node = open(&config, &listeners, links.clone(), disk.clone(), left)?;
    let Listeners {
        redis: redis_listener,
        peer,
        http: http_listener,
        addresses,
        ..
    } = listeners;
    let inbox = Inbox {
        engine: Arc::downgrade(&node.engine),
        world: node.world.clone(),
    };
    node.transport.start(Some(peer), Arc::new(inbox));

    let state = Arc::new(NodeState::default());
    let (stop, stopped) = watch::channel(false);
    let handle = faults.then(|| FaultsHandle::new(links, disk));
    let token = config.http.token.as_ref().map(|t| t.expose().to_owned());
    let redis_config = redis_config(&config, &addresses);
    let watched = Watched {
        backend: config.storage.backend.to_string(),
        redis: redis_config.figures.clone(),
    };
    let http = Http::new(
        node.engine.clone(),
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
        node.engine.clone(),
        redis_config,
        stopped,
    ));
    let ticker = tokio::spawn(tick(Arc::downgrade(&node.engine)));
    let joiner = tokio::spawn(join_seeds(
        config.cluster.seeds.clone(),
        Arc::downgrade(&node.engine),
    ));
    state.set_ready();
    announce(&addresses)?;

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping: SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping: SIGINT"),
        _ = let_go.wait_for(|left| *left) => {
            tracing::info!("stopping: the cluster let this node go");
            tokio::time::sleep(FAREWELL).await;
        }
    }
    state.set_draining();
    node.gossip.say_goodbye();
    joiner.abort();
    stop.send_replace(true);
    let finished = tokio::time::timeout(FINISH, async {
        let _ = redis.await;
        let _ = http.await;
        while node.engine.in_flight() > 0 {
            tokio::time::sleep(TICK).await;
        }
    });
    if finished.await.is_err() {
        tracing::warn!("requests were still under way after {FINISH:?}");
    }
    ticker.abort();
    close(node).await
}

/// Opens the folder and puts the machines together.
fn open(
    config: &Config,
    listeners: &Listeners,
    links: Arc<FaultSwitch>,
    disk: rkv_storage::Faults,
    left: watch::Sender<bool>,
) -> anyhow::Result<Node> {
    let me = NodeName::from(config.node.name.as_str());
    let dir = &config.node.data_dir;
    let identity = Identity::open(dir, &me)?;
    let (mut ring_file, stored) = RingFile::open(dir)?;
    let storage_dir = dir.join("storage");
    let who = cluster::Identity {
        name: me.clone(),
        incarnation: identity.incarnation(),
        boot: identity.boot(),
        addresses: listeners.addresses.clone(),
        zone: config.node.zone.clone(),
        weight: config.node.weight,
    };
    let is_founded_now = stored.is_none();
    let stored = match stored {
        Some(stored) => {
            warn_of_other_shape(config, &stored);
            stored
        }
        None => {
            identity.check_foundable(&storage_dir)?;
            found(config, &who, &mut ring_file)?
        }
    };
    let opened = rkv_storage::open(config.storage.backend, &storage_dir)?;
    if let Some(aside) = &opened.set_aside {
        tracing::warn!(folder = %aside.display(), "storage did not open and was set aside; the copies are filled again from the other nodes");
    }
    let volatile = opened.backend.is_volatile();
    let lost_unsynced =
        identity.machine_went_down() && config.storage.durability != Durability::Always;
    let is_lossy = volatile || opened.fresh || opened.set_aside.is_some() || lost_unsynced;
    let beginning = match is_founded_now {
        true => Beginning::Founded,
        false if is_lossy => Beginning::Lossy,
        false => Beginning::Intact,
    };
    let sync_interval = Duration::from_millis(config.storage.sync_interval_ms);
    let store = rkv_storage::start(
        opened.backend,
        config.storage.durability,
        sync_interval,
        disk,
    )?;

    let boot_id = identity.boot_id();
    let clock = Arc::new(Clock::new(boot_id, config.clock.max_drift_ms));
    let transport = Arc::new(TcpTransport::new(TcpConfig {
        identity: handshake::Identity {
            name: me.clone(),
            incarnation: identity.incarnation(),
            boot: identity.boot(),
            role: Role::Peer,
            address: listeners.addresses.peer.clone(),
            cluster: config.cluster.name.clone(),
            protocol: PROTOCOL,
        },
        secrets: Secrets::new(
            config.cluster.secret.as_ref().map(Secret::expose),
            config.cluster.client_secret.as_ref().map(Secret::expose),
        ),
        timings: Timings::default(),
        faults: links.clone(),
    }));
    let (events, inbox) = mpsc::channel();
    let world = Arc::new(RealWorld::new(
        me.clone(),
        clock.clone(),
        transport.clone(),
        events,
        left,
    ));
    for (name, member) in &stored.ring.members {
        world.heard_address(name, &member.addresses.peer);
    }
    let settings = Settings {
        boot: boot_id,
        max_drift_ms: config.clock.max_drift_ms,
        transfers: config.transfers.limit as usize,
        bytes_per_s: config.transfers.bytes_per_s.unwrap_or(0),
        grace_ms: config.transfers.grace_s * 1000,
        anti_entropy_ms: ANTI_ENTROPY_MS,
        fault: Fault::None,
    };
    let services: Vec<Arc<dyn Service>> = vec![Arc::new(Ping), Arc::new(KvService)];
    let host = Host::open(
        me.clone(),
        stored.ring.clone(),
        services,
        store.clone(),
        world.clone(),
        settings,
        beginning,
    )?;
    let engine = Engine::start(
        host,
        world.clone(),
        clock,
        Drift::new(config.clock.max_drift_ms),
        Keyspace::default_with(Defaults {
            n: config.default.n,
            r: config.default.r,
            w: config.default.w,
            timeout_ms: config.request.timeout_ms,
            ..Defaults::default()
        }),
        Bounds {
            key_bytes: config.limits.key_bytes as usize,
            value_bytes: config.limits.value_bytes as usize,
        },
        boot_id,
    );
    let machine_config = cluster::Config {
        seed: boot_id,
        ..cluster::Config::default()
    };
    let machine = Cluster::new(who, stored, machine_config, world.now_ms());
    let facts = machine.facts();
    let keeper = Keeper::new(machine, Box::new(ring_file));
    let keeper = keep(keeper, inbox, Arc::downgrade(&engine))?;
    let gossip = chat(config, listeners, &identity, facts, &engine, &world, links)?;
    world.gossip_is(gossip.clone());
    Ok(Node {
        identity,
        store,
        engine,
        transport,
        gossip,
        keeper,
        world,
    })
}

/// The ring of a cluster of one, on disk before there is any data that would belong to it.
fn found(
    config: &Config,
    who: &cluster::Identity,
    ring_file: &mut RingFile,
) -> anyhow::Result<Stored> {
    let partitions = PartitionCount::new(config.ring.partitions)?;
    let id = ClusterId(identity::random()?);
    let (name, replicas) = (&config.cluster.name, config.ring.replicas);
    let stored = Stored::found(who, id, name, partitions, replicas);
    ring_file
        .save(&stored)
        .map_err(anyhow::Error::msg)
        .context("cannot save the ring of a new cluster")?;
    Ok(stored)
}

fn warn_of_other_shape(config: &Config, stored: &Stored) {
    let (ring, asked) = (&stored.ring, &config.ring);
    if ring.partitions.get() != asked.partitions || ring.replicas != asked.replicas {
        tracing::warn!(
            "ring.partitions = {} and ring.replicas = {} are read only when a cluster is founded; this one has {} and {}",
            asked.partitions,
            asked.replicas,
            ring.partitions.get(),
            ring.replicas
        );
    }
}

/// The keeper's thread: it may wait for the disk, which no other thread of a node does for a ring.
fn keep(
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

fn chat(
    config: &Config,
    listeners: &Listeners,
    identity: &Identity,
    facts: cluster::Facts,
    engine: &Arc<Engine>,
    world: &Arc<RealWorld>,
    links: Arc<FaultSwitch>,
) -> anyhow::Result<Arc<Chat>> {
    let (hearing, by_address) = (Arc::downgrade(engine), world.clone());
    let blocked = {
        let world = world.clone();
        move |address: &SocketAddr| {
            let node = world.node_at(&address.to_string());
            node.is_some_and(|node| links.drops(&node))
        }
    };
    let chat_config = ChatConfig {
        node: engine.me().clone(),
        boot: identity.boot(),
        cluster_name: config.cluster.name.clone(),
        secret: config
            .cluster
            .secret
            .as_ref()
            .map(|s| s.expose().to_owned()),
        listen: listeners.peer_address,
        advertise: listeners.addresses.peer.clone(),
        interval: Duration::from_millis(config.cluster.gossip_interval_ms),
        seeds: config.cluster.seeds.clone(),
        facts,
        blocked: Arc::new(blocked),
    };
    let chat = Chat::start(chat_config, move |event| {
        let Some(engine) = hearing.upgrade() else {
            return;
        };
        match event {
            GossipEvent::Facts { node, published } => {
                by_address.heard_address(&node, &published.peer);
                engine.facts(&node, published.facts);
            }
            GossipEvent::Up(node) => {
                tracing::info!(%node, "seems to be up");
                engine.suspect(&node, true);
            }
            GossipEvent::Down(node) => {
                tracing::info!(%node, "seems to be down");
                engine.suspect(&node, false);
            }
        }
    })?;
    let view = engine.view();
    for (name, member) in &view.ring().members {
        if name != view.me() {
            chat.add_seed(&member.addresses.peer);
        }
    }
    Ok(Arc::new(chat))
}

async fn tick(engine: Weak<Engine>) {
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

/// A node without a cluster stages a join through the first seed that answers; a person commits.
async fn join_seeds(seeds: Vec<String>, engine: Weak<Engine>) {
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

async fn close(node: Node) -> anyhow::Result<()> {
    let Node {
        mut identity,
        store,
        engine,
        transport,
        gossip,
        keeper,
        world,
    } = node;
    transport.close(Duration::from_secs(1)).await;
    let closing = store.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close()).await?;
    match closed {
        Ok(()) => identity.mark_clean()?,
        Err(error) => tracing::error!(%error, "storage did not close cleanly"),
    }
    drop((engine, world));
    // Gossip holds the world, and its thread ends with it.
    tokio::task::spawn_blocking(move || drop(gossip)).await?;
    drop(store);
    drop(keeper);
    tracing::info!("stopped");
    Ok(())
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
    peer_address: SocketAddr,
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
            peer_address: peer.local_addr()?,
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
