//! Gossip over real sockets: who hears of whom, and when somebody is taken for dead.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rkv_cluster::gossip::{Blocked, Chat, ChatConfig, Gossip, GossipError, GossipEvent};
use rkv_ring::cluster::Facts;
use rkv_ring::{ClusterId, Epoch, Incarnation, RingDigest};

const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    chat: Option<Chat>,
    heard: Receiver<GossipEvent>,
}

impl Node {
    /// The next event that `is` what is waited for; all before it are let pass.
    fn hears(&self, what: &str, is: impl Fn(&GossipEvent) -> bool) -> GossipEvent {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.heard.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("waited in vain: {what}"));
            if is(&event) {
                return event;
            }
        }
    }

    fn hears_epoch(&self, of: &str, epoch: u64) {
        self.hears(&format!("epoch {epoch} of {of}"), |event| {
            matches!(event, GossipEvent::Facts { node, published }
                if node.as_str() == of && published.facts.epoch == Epoch(epoch))
        });
    }

    fn hears_up(&self, of: &str) {
        let up = GossipEvent::Up(of.into());
        self.hears(&format!("{of} is up"), |event| *event == up);
    }

    fn hears_down(&self, of: &str) {
        let down = GossipEvent::Down(of.into());
        self.hears(&format!("{of} is down"), |event| *event == down);
    }

    fn foreign_datagrams(&self) -> u64 {
        self.chat.as_ref().expect("it runs").foreign_datagrams()
    }
}

/// An address that nobody has.
fn free() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    socket.local_addr().expect("it is bound")
}

fn facts(epoch: u64) -> Facts {
    Facts {
        incarnation: Incarnation(7),
        boot: 1,
        cluster: ClusterId(1),
        lineage: 0,
        epoch: Epoch(epoch),
        digest: RingDigest([0; 16]),
    }
}

fn config(name: &str, listen: SocketAddr, seeds: &[SocketAddr], secret: &str) -> ChatConfig {
    ChatConfig {
        node: name.into(),
        generation: 1,
        cluster_name: "test".to_owned(),
        secret: Some(secret.to_owned()),
        listen,
        advertise: listen.to_string(),
        interval: Duration::from_millis(50),
        seeds: seeds.iter().map(SocketAddr::to_string).collect(),
        facts: facts(1),
        blocked: Arc::new(|_, _| false),
    }
}

fn start(config: ChatConfig) -> Node {
    let (tell, heard) = mpsc::channel();
    let chat = Chat::start(config, |_, _| false, move |event| drop(tell.send(event)));
    Node {
        chat: Some(chat.expect("it starts")),
        heard,
    }
}

/// Lost without it: a ring that nobody hears of, a dead node that nobody misses, a stop that is taken for a crash.
#[test]
fn facts_life_and_death_are_heard() {
    let (at_a, at_b) = (free(), free());
    let a = start(config("a", at_a, &[], "s"));
    let mut b = start(config("b", at_b, &[at_a], "s"));
    a.hears_epoch("b", 1);
    a.hears_up("b");
    b.hears_up("a");

    a.chat.as_ref().expect("it runs").publish(facts(2));
    b.hears_epoch("a", 2);

    // As if killed: nobody says goodbye.
    b.chat = None;
    a.hears_down("b");

    let again = config("b", at_b, &[at_a], "s");
    let b = start(ChatConfig {
        generation: 2,
        ..again
    });
    a.hears_up("b");

    let goodbye = Instant::now();
    b.chat.as_ref().expect("it runs").say_goodbye();
    a.hears_down("b");
    let took = goodbye.elapsed();
    assert!(took < Duration::from_secs(5), "a goodbye needs no detector");
}

/// Lost without it: a cluster that listens to strangers, or that a datagram of rubbish deafens.
#[test]
fn strangers_and_rubbish_are_not_heard() {
    let (at_a, at_b) = (free(), free());
    let a = start(config("a", at_a, &[], "s"));
    let stranger = start(config("x", free(), &[at_a], "another"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    for length in [0, 1, 12, 13, 14, 500, 60_000] {
        let sent = socket.send_to(&vec![1u8; length], at_a);
        sent.expect("it is sent");
    }
    let until = Instant::now() + PATIENCE;
    while a.foreign_datagrams() < 8 {
        let counted = a.foreign_datagrams();
        assert!(Instant::now() < until, "{counted} foreign datagrams");
        std::thread::yield_now();
    }
    let b = start(config("b", at_b, &[at_a], "s"));
    let first = a.hears("anything at all", |_| true);
    assert!(matches!(first, GossipEvent::Facts { node, .. } if node.as_str() == "b"));
    b.hears_up("a");
    assert!(stranger.heard.try_recv().is_err(), "it heard nobody");
}

/// Lost without it: a link cut on purpose that gossip crosses all the same.
#[test]
fn a_cut_link_is_cut_for_gossip_too() {
    let (at_a, at_b) = (free(), free());
    let blocked: Blocked = Arc::new(move |address, _| *address == at_a);
    let a = start(config("a", at_a, &[], "s"));
    let b = config("b", at_b, &[at_a], "s");
    let b = start(ChatConfig { blocked, ..b });
    let c = start(config("c", free(), &[at_a], "s"));
    c.hears_up("a");
    a.hears_up("c");
    assert!(b.heard.try_recv().is_err());
}

/// Lost without it: a port in use would show as a node that nobody hears.
#[test]
fn a_port_in_use_is_an_error_that_names_the_key() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    let listen = taken.local_addr().expect("it is bound");
    let started = Chat::start(config("a", listen, &[], "s"), |_, _| false, |_| ());
    let Err(error @ GossipError::Bind { .. }) = started else {
        panic!("it must not start");
    };
    assert!(error.to_string().starts_with("listen.peer"), "{error}");
}
