//! This file answers: how does a folder become a node's machines?

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rkv_cluster::gossip::{Chat, Gossip};
use rkv_cluster::identity::{self, Identity};
use rkv_cluster::keeper::{Keeper, RingStore as _};
use rkv_cluster::ring_file::RingFile;
use rkv_kv::{Engine, Keyspace, KvService};
use rkv_quorum::clock::{Clock, Drift};
use rkv_ring::ClusterId;
use rkv_ring::cluster::{self, Cluster, Stored};
use rkv_storage::{Durability, Store};
use rkv_vnode::ping::Ping;
use rkv_vnode::{Beginning, Fault, Host, Service, World};
use rkv_wire::handshake::{self, Role, Secrets};
use rkv_wire::tcp::{TcpConfig, TcpTransport, Timings};
use tokio::sync::watch;

use crate::hearing::{Speaker, chat};
use crate::routine::{TICK, keep};
use crate::settings::{Settings, Switches};
use crate::world::RealWorld;

/// How often quiet copies are compared with a peer's.
const ANTI_ENTROPY_MS: u64 = 10_000;
/// How long a request lasts at most, and twice as long as it usually may.
const VOID_AFTER_MS: u64 = 10_000;
/// Protocol versions that this program speaks.
const PROTOCOL: (u16, u16) = (1, 1);
/// How long a ring that is being written may take to land when a node ends.
const KEEPER_ENDS: Duration = Duration::from_secs(2);

/// Everything that is open, so that it can be closed in order.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) transport: Arc<TcpTransport>,
    pub(crate) gossip: Arc<Chat>,
    pub(crate) keeper: JoinHandle<()>,
    pub(crate) world: Arc<RealWorld>,
}

impl Parts {
    /// Lets everything go, the folder last. Waits for threads.
    pub(crate) fn end(self) {
        drop((self.engine, self.world));
        drop(self.gossip);
        let until = Instant::now() + KEEPER_ENDS;
        while !self.keeper.is_finished() {
            if Instant::now() > until {
                tracing::warn!("the ring's keeper is still busy");
                break;
            }
            std::thread::sleep(TICK);
        }
        drop(self.store);
        drop(self.identity);
    }
}

/// Opens the folder and puts the machines together; gossip listens on `peer_address`.
pub(crate) fn open(
    settings: &Settings,
    peer_address: SocketAddr,
    switches: Switches,
    left: watch::Sender<bool>,
) -> anyhow::Result<Parts> {
    let (me, dir) = (&settings.name, &settings.data_dir);
    let identity = Identity::open(dir, me)?;
    let (mut ring_file, stored) = RingFile::open(dir)?;
    let storage_dir = dir.join("storage");
    let who = cluster::Identity {
        name: me.clone(),
        incarnation: identity.incarnation(),
        boot: identity.boot(),
        addresses: settings.addresses.clone(),
        zone: settings.zone.clone(),
        weight: settings.weight,
    };
    let is_founded_now = stored.is_none();
    let stored = match stored {
        Some(stored) => {
            warn_of_other_shape(settings, &stored);
            stored
        }
        None => {
            identity.check_foundable(&storage_dir)?;
            found(settings, &who, &mut ring_file)?
        }
    };
    let opened = rkv_storage::open(settings.backend, &storage_dir)?;
    if let Some(aside) = &opened.set_aside {
        tracing::warn!(folder = %aside.display(), "storage did not open and was set aside; the copies are filled again from the other nodes");
    }
    let volatile = opened.backend.is_volatile();
    let lost_unsynced = identity.machine_went_down() && settings.durability != Durability::Always;
    let is_lossy = volatile || opened.fresh || opened.set_aside.is_some() || lost_unsynced;
    let beginning = match is_founded_now {
        true => Beginning::Founded,
        false if is_lossy => Beginning::Lossy,
        false => Beginning::Intact,
    };
    let store = rkv_storage::start(
        opened.backend,
        settings.durability,
        settings.sync_interval,
        switches.disk,
    )?;

    let boot_id = identity.boot_id();
    let clock = Arc::new(Clock::new(boot_id, settings.max_drift_ms));
    let transport = Arc::new(TcpTransport::new(TcpConfig {
        identity: handshake::Identity {
            name: me.clone(),
            incarnation: identity.incarnation(),
            boot: identity.boot(),
            role: Role::Peer,
            address: settings.addresses.peer.clone(),
            cluster: settings.cluster.clone(),
            protocol: PROTOCOL,
        },
        secrets: Secrets::new(
            settings.secret.as_deref(),
            settings.client_secret.as_deref(),
        ),
        timings: Timings::default(),
        faults: switches.links.clone(),
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
    let void_after_ms = VOID_AFTER_MS + 2 * settings.max_drift_ms;
    let vnodes = rkv_vnode::Settings {
        boot: boot_id,
        max_drift_ms: settings.max_drift_ms,
        transfers: settings.transfers,
        bytes_per_s: settings.bytes_per_s,
        grace_ms: settings.grace.as_millis() as u64,
        delete_grace_ms: (settings.delete_grace.as_millis() as u64).max(void_after_ms),
        void_after_ms,
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
        vnodes,
        beginning,
    )?;
    for aside in rkv_storage::folders_set_aside(&storage_dir) {
        host.note(format!(
            "storage did not open and is set aside in {}: look at it, then remove it",
            aside.display()
        ));
    }
    let engine = Engine::start(
        host,
        world.clone(),
        clock,
        Drift::new(settings.max_drift_ms),
        Keyspace::default_with(settings.defaults),
        settings.bounds,
        boot_id,
    );
    let machine_config = cluster::Config {
        seed: boot_id,
        wall_at_zero_ms: world.wall_ms().saturating_sub(world.now_ms()),
        // The others let go of what was deleted when the whole grace is over, by clocks that are not this one.
        removed_grace_ms: settings.delete_grace.as_millis() as u64 / 2,
        ..cluster::Config::default()
    };
    let machine = Cluster::new(who, stored, machine_config, world.now_ms());
    let facts = machine.facts();
    let keeper = Keeper::new(machine, Box::new(ring_file));
    let keeper = keep(keeper, inbox, Arc::downgrade(&engine))?;
    let from = Speaker {
        listen: peer_address,
        generation: world.wall_ms(),
        facts,
    };
    let gossip = chat(settings, from, &engine, &world, switches.links)?;
    let heard: Arc<dyn Gossip> = gossip.clone();
    world.gossip_is(&heard);
    Ok(Parts {
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
    settings: &Settings,
    who: &cluster::Identity,
    ring_file: &mut RingFile,
) -> anyhow::Result<Stored> {
    let partitions = settings.partitions;
    let id = ClusterId(identity::random()?);
    let (name, replicas) = (&settings.cluster, settings.replicas);
    let stored = Stored::found(who, id, name, partitions, replicas);
    ring_file
        .save(&stored)
        .map_err(anyhow::Error::msg)
        .context("cannot save the ring of a new cluster")?;
    Ok(stored)
}

fn warn_of_other_shape(settings: &Settings, stored: &Stored) {
    let (ring, asked) = (&stored.ring, settings);
    if ring.partitions != asked.partitions || ring.replicas != asked.replicas {
        tracing::warn!(
            "ring.partitions = {} and ring.replicas = {} are read only when a cluster is founded; this one has {} and {}",
            asked.partitions.get(),
            asked.replicas,
            ring.partitions.get(),
            ring.replicas
        );
    }
}
