//! This file answers: how does gossip reach the engine?
//!
//! Gossip's thread holds neither the engine nor the world, or it would keep alive what keeps it alive.

use std::net::SocketAddr;
use std::sync::Arc;

use rkv_cluster::gossip::{Chat, ChatConfig, Gossip as _, GossipEvent, Way};
use rkv_kv::Engine;
use rkv_ring::NodeName;
use rkv_ring::cluster::Facts;
use rkv_wire::faults::FaultSwitch;

use crate::settings::Settings;
use crate::world::RealWorld;

/// Who speaks in gossip, and what it says first.
pub(crate) struct Speaker {
    pub(crate) listen: SocketAddr,
    /// Later for each start, whatever folder it starts on.
    pub(crate) generation: u64,
    pub(crate) facts: Facts,
}

/// Begins to gossip.
pub(crate) fn chat(
    settings: &Settings,
    from: Speaker,
    engine: &Arc<Engine>,
    world: &Arc<RealWorld>,
    links: Arc<FaultSwitch>,
) -> anyhow::Result<Arc<Chat>> {
    let (hearing, by_address) = (Arc::downgrade(engine), Arc::downgrade(world));
    let blocked = {
        let world = Arc::downgrade(world);
        move |address: &SocketAddr, way: Way| {
            let world = world.upgrade();
            let node = world.and_then(|world| world.node_at(&address.to_string()));
            node.is_some_and(|node| match way {
                Way::To => links.drops(&node),
                Way::From => links.is_deaf_to(&node),
            })
        }
    };
    let chat_config = ChatConfig {
        node: engine.me().clone(),
        generation: from.generation,
        cluster_name: settings.cluster.clone(),
        secret: settings.secret.clone(),
        listen: from.listen,
        advertise: settings.addresses.peer.clone(),
        interval: settings.gossip_interval,
        seeds: settings.seeds.clone(),
        facts: from.facts,
        blocked: Arc::new(blocked),
    };
    let lives = Arc::downgrade(engine);
    let is_other_life = move |node: &NodeName, facts: &Facts| {
        let engine = lives.upgrade();
        engine.is_some_and(|engine| !engine.is_itself(node, facts.incarnation, facts.boot))
    };
    let chat = Chat::start(chat_config, is_other_life, move |event| {
        let (Some(engine), Some(world)) = (hearing.upgrade(), by_address.upgrade()) else {
            return;
        };
        match event {
            GossipEvent::Facts { node, published } => {
                world.heard_address(&node, &published.peer);
                engine.facts(&node, published.facts);
            }
            GossipEvent::Up(node) => {
                tracing::info!(%node, "seems to be up");
                world
                    .presence
                    .heard(&node, true, |up| engine.suspect(&node, up));
            }
            GossipEvent::Down(node) => {
                tracing::info!(%node, "seems to be down");
                world
                    .presence
                    .heard(&node, false, |up| engine.suspect(&node, up));
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
