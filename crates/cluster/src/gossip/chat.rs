//! This file answers: how is chitchat run, and what is made of what it says?
//!
//! On a runtime of its own with one thread, so that load cannot make a node look dead. A node's facts are one small
//! value: an oversized one would silently stop chitchat, so it is refused here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use rkv_ring::NodeName;
use rkv_ring::cluster::Facts;
use tokio::sync::mpsc;

use super::sealed::{Blocked, Sealed};
use super::{Gossip, GossipEvent, Published};

/// The one key of a node's state.
const KEY: &str = "rkv";
/// The largest value: a larger one could fill a datagram and silently stop all that comes after it.
const MAX_VALUE: usize = 8 << 10;
/// Rounds between two looks for seeds that are not heard from.
const SEED_ROUNDS: u32 = 5;
/// How many times the usual pause between two signs of life a node may be silent. These come at least once a round of 100 ms, and
/// with few nodes twice: it is suspected after 0.8 to 1.8 s, and not when others on its machine hold it up for a moment.
const PHI: f64 = 16.0;
/// How long the dead are remembered.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// What gossip is told.
pub struct ChatConfig {
    /// This node's name.
    pub node: NodeName,
    /// Later for each start, whatever folder it starts on: a peer's picture of an earlier one is replaced.
    pub generation: u64,
    /// `cluster.name`: others are not heard.
    pub cluster_name: String,
    /// `cluster.secret`.
    pub secret: Option<String>,
    /// Where the UDP socket listens: `listen.peer`.
    pub listen: SocketAddr,
    /// What others are told: `advertise.peer`.
    pub advertise: String,
    /// `cluster.gossip_interval_ms`.
    pub interval: Duration,
    /// `cluster.seeds`.
    pub seeds: Vec<String>,
    /// What is published first.
    pub facts: Facts,
    /// Links cut on purpose.
    pub blocked: Blocked,
}

/// Why gossip could not begin.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The port is in use, or not ours.
    #[error("listen.peer: cannot bind {address}/UDP for gossip: {error}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// Something else failed.
    #[error("gossip cannot start: {0}")]
    Start(String),
}

enum Order {
    Publish(Facts),
    Seed(String),
    Goodbye,
}

/// Gossip by chitchat. Ends when dropped.
pub struct Chat {
    orders: mpsc::UnboundedSender<Order>,
    foreign: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Chat {
    /// Begins; `hear` is called on gossip's thread with what comes out. Of a name, who says facts of which `is_other_life`
    /// holds is not the one that is known by it: that one is not up by that.
    pub fn start(
        config: ChatConfig,
        is_other_life: impl Fn(&NodeName, &Facts) -> bool + Send + 'static,
        hear: impl Fn(GossipEvent) + Send + 'static,
    ) -> Result<Chat, GossipError> {
        let bind = |error| GossipError::Bind {
            address: config.listen,
            error,
        };
        let socket = std::net::UdpSocket::bind(config.listen).map_err(bind)?;
        socket.set_nonblocking(true).map_err(bind)?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let foreign = Arc::new(AtomicU64::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| GossipError::Start(e.to_string()))?;
        let counter = foreign.clone();
        let thread = std::thread::Builder::new()
            .name("gossip".to_owned())
            .spawn(move || {
                let ended =
                    runtime.block_on(run(config, socket, counter, inbox, is_other_life, hear));
                if let Err(error) = ended {
                    tracing::error!(%error, "gossip ended");
                }
            })
            .map_err(|e| GossipError::Start(e.to_string()))?;
        Ok(Chat {
            orders,
            foreign,
            thread: Some(thread),
        })
    }

    /// Whether nobody listens or speaks any more.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Datagrams that did not open: forged, or of a cluster with another secret.
    pub fn foreign_datagrams(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }
}

impl Gossip for Chat {
    fn publish(&self, facts: Facts) {
        let _ = self.orders.send(Order::Publish(facts));
    }

    fn add_seed(&self, address: &str) {
        let _ = self.orders.send(Order::Seed(address.to_owned()));
    }

    fn say_goodbye(&self) {
        let _ = self.orders.send(Order::Goodbye);
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        drop(std::mem::replace(&mut self.orders, closed));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(
    config: ChatConfig,
    socket: std::net::UdpSocket,
    foreign: Arc<AtomicU64>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    is_other_life: impl Fn(&NodeName, &Facts) -> bool,
    hear: impl Fn(GossipEvent),
) -> anyhow::Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let advertise = resolve(&config.advertise).await.unwrap_or(config.listen);
    let sealed = Sealed::new(config.secret.as_deref(), socket, config.blocked, foreign);
    let mut published = Published {
        facts: config.facts,
        peer: config.advertise.clone(),
        stopping: false,
    };
    let chat_config = ChitchatConfig {
        chitchat_id: ChitchatId::new(config.node.as_str(), config.generation, advertise),
        cluster_id: config.cluster_name,
        gossip_interval: config.interval,
        listen_addr: config.listen,
        seed_nodes: config.seeds.clone(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: PHI,
            sampling_window_size: 100,
            max_interval: config.interval * 20,
            initial_interval: config.interval,
            dead_node_grace_period: GRACE,
        },
        marked_for_deletion_grace_period: GRACE,
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let first = vec![(KEY.to_owned(), encode(&published)?)];
    let chat = spawn_chitchat(chat_config, first, &sealed).await?;
    let mut listener = Listener::default();
    let mut seeds: BTreeSet<String> = config.seeds.into_iter().collect();
    let mut rounds = 0u32;
    let mut round = tokio::time::interval(config.interval);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = round.tick() => {
                listener.look(&chat, &config.node, &is_other_life, &hear).await;
                rounds = rounds.wrapping_add(1);
                if rounds.is_multiple_of(SEED_ROUNDS) {
                    knock(&chat, &seeds, &listener.live).await;
                }
            }
            order = orders.recv() => {
                match order {
                    None => break,
                    Some(Order::Publish(facts)) => published.facts = facts,
                    Some(Order::Goodbye) => published.stopping = true,
                    Some(Order::Seed(address)) => {
                        if seeds.insert(address) {
                            knock(&chat, &seeds, &listener.live).await;
                        }
                        continue;
                    }
                }
                let value = encode(&published)?;
                chat.with_chitchat(|chat| chat.self_node_state().set(KEY, &value)).await;
                if published.stopping {
                    for address in &listener.live {
                        let _ = chat.gossip(*address);
                    }
                }
            }
        }
    }
    chat.shutdown().await
}

/// Greets seeds that are not heard from.
async fn knock(chat: &ChitchatHandle, seeds: &BTreeSet<String>, live: &BTreeSet<SocketAddr>) {
    for seed in seeds {
        if let Some(address) = resolve(seed)
            .await
            .filter(|address| !live.contains(address))
        {
            let _ = chat.gossip(address);
        }
    }
}

async fn resolve(address: &str) -> Option<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Some(address);
    }
    tokio::net::lookup_host(address).await.ok()?.next()
}

/// What was reported last of each node.
#[derive(Default)]
struct Listener {
    known: BTreeMap<NodeName, (u64, Published, bool)>,
    live: BTreeSet<SocketAddr>,
}

impl Listener {
    /// Reports what changed since the last look.
    async fn look(
        &mut self,
        chat: &ChitchatHandle,
        me: &NodeName,
        is_other_life: &impl Fn(&NodeName, &Facts) -> bool,
        hear: &impl Fn(GossipEvent),
    ) {
        let mut seen: BTreeMap<NodeName, (u64, Published, bool)> = BTreeMap::new();
        let mut live = BTreeSet::new();
        chat.with_chitchat(|chat| {
            let alive: BTreeSet<ChitchatId> = chat.live_nodes().cloned().collect();
            for (id, state) in chat.node_states() {
                let name = NodeName::from(&*id.node_id);
                let Some(published) = state.get(KEY).and_then(decode) else {
                    continue;
                };
                if name == *me {
                    continue;
                }
                let up = alive.contains(id)
                    && !published.stopping
                    && !is_other_life(&name, &published.facts);
                if alive.contains(id) {
                    live.insert(id.gossip_advertise_addr);
                }
                // Two folders of one name: who is up counts, else who came last.
                let newest = seen
                    .get(&name)
                    .is_none_or(|(known, _, is_up)| (*is_up, *known) <= (up, id.generation_id));
                if newest {
                    seen.insert(name, (id.generation_id, published, up));
                }
            }
        })
        .await;
        self.live = live;
        for (name, (generation, published, up)) in &seen {
            let before = self.known.get(name);
            if before.is_none_or(|(g, p, _)| (g, p) != (generation, published)) {
                let restarted = before.is_some_and(|(g, _, up)| g != generation && *up);
                if restarted {
                    hear(GossipEvent::Down(name.clone()));
                }
                hear(GossipEvent::Facts {
                    node: name.clone(),
                    published: published.clone(),
                });
                if restarted && *up {
                    hear(GossipEvent::Up(name.clone()));
                }
            }
            if before.is_some_and(|(.., up)| *up) != *up {
                hear(if *up {
                    GossipEvent::Up(name.clone())
                } else {
                    GossipEvent::Down(name.clone())
                });
            }
        }
        for (name, (.., up)) in &self.known {
            if *up && !seen.contains_key(name) {
                hear(GossipEvent::Down(name.clone()));
            }
        }
        self.known = seen;
    }
}

fn encode(published: &Published) -> anyhow::Result<String> {
    let bytes = rmp_serde::to_vec_named(published)?;
    let value: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    anyhow::ensure!(
        value.len() <= MAX_VALUE,
        "facts of {} bytes would stop gossip; at most {MAX_VALUE} may be told",
        value.len()
    );
    Ok(value)
}

fn decode(value: &str) -> Option<Published> {
    let digits = value.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    rmp_serde::from_slice(&bytes?).ok()
}
