//! Nodes that talk over real sockets of this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rkv_ring::{Incarnation, NodeName};
use rkv_wire::handshake::{HandshakeError, PROTOCOL_MAX, PROTOCOL_MIN, Role};
use rkv_wire::message::{Answer, CopyId, RequestId, ServiceId, SessionId};
use rkv_wire::request::Request;
use rkv_wire::tcp::{ConnectError, QUEUE_MESSAGES, TcpConfig, TcpTransport, Timings};
use rkv_wire::{
    Envelope, FaultSwitch, Faults, Handler, Identity, MAX_BODY, Message, Peer, PeerInfo, Secrets,
    Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
enum Event {
    Message(PeerInfo, Box<Envelope>),
    Unreachable(NodeName, Vec<Envelope>),
    Overloaded(NodeName, Vec<Envelope>),
    TurnedAway(HandshakeError),
}

struct Recorder(UnboundedSender<Event>);

impl Recorder {
    fn record(&self, event: Event) {
        let _ = self.0.send(event); // nobody listens to a node that the test is done with
    }
}

impl Handler for Recorder {
    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        self.record(Event::Message(from.clone(), Box::new(envelope)));
    }

    fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        self.record(Event::Unreachable(name.clone(), undelivered));
    }

    fn overloaded(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        self.record(Event::Overloaded(name.clone(), undelivered));
    }

    fn turned_away(&self, _: &str, error: &HandshakeError) {
        self.record(Event::TurnedAway(error.clone()));
    }
}

struct Node {
    transport: TcpTransport,
    peer: Peer,
    events: UnboundedReceiver<Event>,
}

/// What a test's node is started with.
struct Setup {
    name: &'static str,
    boot: u64,
    secrets: Secrets,
    timings: Timings,
    listen: String,
}

fn setup(name: &'static str) -> Setup {
    Setup {
        name,
        boot: 1,
        secrets: Secrets::none(),
        timings: timings(),
        listen: "127.0.0.1:0".into(),
    }
}

/// Quick enough for a test, slow enough for a loaded machine.
fn timings() -> Timings {
    Timings {
        beat: Duration::from_millis(200),
        silent_beats: 5,
        ..Timings::default()
    }
}

fn config(setup: &Setup, role: Role, address: String) -> TcpConfig {
    TcpConfig {
        identity: Identity {
            name: setup.name.into(),
            incarnation: Incarnation(7),
            boot: setup.boot,
            role,
            address,
            cluster: "test".into(),
            protocol: (PROTOCOL_MIN, PROTOCOL_MAX),
        },
        secrets: setup.secrets.clone(),
        timings: setup.timings.clone(),
        faults: Arc::new(FaultSwitch::new()),
    }
}

impl Setup {
    async fn start(self) -> Node {
        let (sender, events) = unbounded_channel();
        let listener = TcpListener::bind(&self.listen).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let transport = TcpTransport::new(config(&self, Role::Peer, address.clone()));
        transport.start(Some(listener), Arc::new(Recorder(sender)));
        Node {
            transport,
            peer: Peer {
                name: self.name.into(),
                address,
            },
            events,
        }
    }

    fn client(self) -> Node {
        let (sender, events) = unbounded_channel();
        let transport = TcpTransport::new(config(&self, Role::Client, String::new()));
        transport.start(None, Arc::new(Recorder(sender)));
        Node {
            transport,
            peer: Peer {
                name: self.name.into(),
                address: String::new(),
            },
            events,
        }
    }
}

impl Node {
    fn send(&self, to: &Peer, envelope: Envelope) {
        self.transport.send(to, envelope);
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("something happens in time")
            .expect("the transport runs")
    }

    async fn message(&mut self) -> (PeerInfo, Envelope) {
        match self.event().await {
            Event::Message(from, envelope) => (from, *envelope),
            other => panic!("{other:?}"),
        }
    }

    async fn undelivered(&mut self) -> Vec<Envelope> {
        match self.event().await {
            Event::Unreachable(name, undelivered) => {
                assert_ne!(name, self.peer.name);
                undelivered
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends until it arrives at `other`, whatever happens on the way; returns the sender as `other` saw it.
    async fn reach(&mut self, other: &mut Node, id: u64) -> PeerInfo {
        loop {
            self.send(&other.peer, request(id));
            tokio::select! {
                event = other.event() => {
                    if let Event::Message(from, envelope) = event
                        && *envelope == request(id)
                    {
                        return from;
                    }
                }
                _ = self.event() => {}
            }
        }
    }
}

fn request(id: u64) -> Envelope {
    Envelope {
        clock: id,
        message: Message::AskHints { id: RequestId(id) },
    }
}

/// What a client may say.
fn ask(id: u64) -> Envelope {
    Envelope {
        clock: id,
        message: Message::Request {
            id: RequestId(id),
            within_ms: 1000,
            cluster: None,
            request: Request::Ring,
            body: Bytes::new(),
        },
    }
}

fn answer(id: u64, body: Bytes) -> Envelope {
    Envelope {
        clock: id,
        message: Message::Answer {
            id: RequestId(id),
            answer: Answer::Found,
            body,
        },
    }
}

fn bulk(seq: u64, body: Bytes) -> Envelope {
    Envelope {
        clock: seq,
        message: Message::HandoffItems {
            copy: CopyId {
                service: ServiceId(1),
                partition: rkv_ring::Partition(3),
            },
            session: SessionId { boot: 1, number: 1 },
            seq,
            body,
        },
    }
}

fn is_request(envelope: &Envelope, id: u64) -> bool {
    *envelope == request(id)
}

/// Lost without it: order, completeness and bodies of what nodes say to each other under load, on both lanes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_each_way_arrive_in_order() {
    const COUNT: u64 = 10_000;
    let large = Bytes::from(vec![0xab; 8 * 1024 * 1024]);
    let body = |id: u64| match id % 1000 {
        0 => large.clone(),
        rest => Bytes::from(vec![id as u8; rest as usize * 6]),
    };
    let (mut a, mut b) = (setup("a").start().await, setup("b").start().await);
    for id in 1..=COUNT {
        let message = |id| match id % 10 {
            0 => bulk(id, body(id)),
            _ => answer(id, body(id)),
        };
        a.send(&b.peer, message(id));
        b.send(&a.peer, message(id));
    }
    for node in [&mut a, &mut b] {
        let (mut next_answer, mut next_bulk) = (1, 10);
        for _ in 0..COUNT {
            let (from, envelope) = node.message().await;
            assert_ne!(from.name, node.peer.name);
            let next = match envelope.message {
                Message::Answer { .. } => &mut next_answer,
                _ => &mut next_bulk,
            };
            assert_eq!(envelope.clock, *next);
            assert!(*envelope.message.body().unwrap() == body(*next));
            *next += match *next % 10 {
                0 => 10,
                9 => 2,
                _ => 1,
            };
        }
    }
}

/// Lost without it: "not applied" could no longer be said truthfully of what never left.
#[tokio::test]
async fn what_cannot_be_sent_comes_back_in_order() {
    let mut a = setup("a").start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let nobody = Peer {
        name: "b".into(),
        address: address.clone(),
    };
    for id in 0..100 {
        a.send(&nobody, request(id));
    }
    let mut back = Vec::new();
    while back.len() < 100 {
        back.append(&mut a.undelivered().await);
    }
    let expected: Vec<Envelope> = (0..100).map(request).collect();
    assert_eq!(back, expected);

    let mut b = setup("b");
    b.listen = address;
    let mut b = b.start().await;
    a.reach(&mut b, 100).await;
}

/// Lost without it: a node that never hears of its peer's crash, or never finds it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_is_found_again() {
    let mut a = setup("a");
    a.timings.backoff_start = 1000 * PATIENCE;
    a.timings.backoff_most = 1000 * PATIENCE;
    let mut a = a.start().await;
    let mut b = setup("b").start().await;
    a.reach(&mut b, 1).await;
    b.reach(&mut a, 2).await;
    b.transport.abort().await;
    // this may leave into a socket whose end is not known yet: then it is lost, but the end is heard of
    a.send(&b.peer, request(3));
    a.undelivered().await;

    let mut again = setup("b");
    again.boot = 2;
    again.listen = b.peer.address.clone();
    let mut b = again.start().await;
    assert_eq!(b.reach(&mut a, 4).await.boot, 2);
    // b has shown itself, which ended a's wait
    let reached = tokio::time::timeout(PATIENCE, a.reach(&mut b, 5)).await;
    assert!(reached.is_ok());
}

/// Lost without it: two lives of one node that are heard at once, the old one's words after the new one's.
#[tokio::test]
async fn a_newer_life_replaces_the_connection_of_an_older_one() {
    let mut old = setup("a").start().await;
    let mut b = setup("b").start().await;
    old.reach(&mut b, 1).await;
    let mut new = setup("a");
    new.boot = 2;
    let mut new = new.start().await;
    assert_eq!(new.reach(&mut b, 2).await.boot, 2);
    assert!(old.undelivered().await.is_empty());
}

/// Lost without it: strangers in the cluster, or an operator who cannot tell why a node stays out.
#[tokio::test]
async fn a_wrong_secret_is_told_at_both_ends() {
    let mut a = setup("a");
    a.secrets = Secrets::new(Some("one"), None);
    let mut b = setup("b");
    b.secrets = Secrets::new(Some("other"), None);
    let (mut a, mut b) = (a.start().await, b.start().await);
    let wrong = HandshakeError::WrongSecret { role: Role::Peer };
    match a.transport.connect(&b.peer.address).await {
        Err(ConnectError::Handshake(error)) => assert_eq!(error, wrong),
        other => panic!("{other:?}"),
    }
    match b.event().await {
        Event::TurnedAway(error) => assert_eq!(error, wrong),
        other => panic!("{other:?}"),
    }
    a.send(&b.peer, request(1));
    assert!(is_request(&a.undelivered().await[0], 1));
}

/// Lost without it: `cluster join` and seeds, which know an address and no name.
#[tokio::test]
async fn an_address_tells_the_name() {
    let mut a = setup("a").start().await;
    let mut b = setup("b").start().await;
    let found = a.transport.connect(&b.peer.address).await.unwrap();
    assert_eq!(found.peer(), b.peer);
    assert_eq!((found.boot, found.cluster.as_str()), (1, "test"));
    a.send(&found.peer(), request(1));
    assert!(is_request(&b.message().await.1, 1));

    // an address that another node has taken over
    let mistaken = Peer {
        name: "c".into(),
        address: b.peer.address.clone(),
    };
    a.send(&mistaken, request(2));
    assert!(is_request(&a.undelivered().await[0], 2));
}

/// Lost without it: a port scan, a browser or a broken peer that harms a node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_its_connection_and_nothing_else() {
    let mut a = setup("a").start().await;
    let mut b = setup("b").start().await;
    let address: SocketAddr = b.peer.address.parse().unwrap();
    let mut silent = Vec::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 1000],
        &[0xff; 100_000],
        b"rkv\x01 and then something else that is long enough",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(garbage).await;
        let mut end = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut end)).await;
        assert!(read.is_ok(), "the connection is ended");
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    a.reach(&mut b, 1).await;
}

/// Lost without it: clients, who cannot be dialled, without answers, or with each other's.
#[tokio::test]
async fn clients_are_answered_where_they_came_by() {
    let with_secret = |name| {
        let mut setup = setup(name);
        setup.secrets = Secrets::new(Some("peers"), Some("clients"));
        setup
    };
    let mut node = with_secret("a").start().await;
    let mut clients = [with_secret("app").client(), with_secret("app").client()];
    for (id, client) in (1..).zip(&mut clients) {
        client.send(&node.peer, ask(id));
    }
    for _ in 0..2 {
        let (from, envelope) = node.message().await;
        assert_eq!(from.role, Role::Client);
        node.send(&from.peer(), answer(envelope.clock, Bytes::new()));
    }
    for (id, client) in (1..).zip(&mut clients) {
        let (from, envelope) = client.message().await;
        assert_eq!((from.name, from.role), ("a".into(), Role::Peer));
        assert_eq!(envelope.clock, id);
    }
}

/// Lost without it: whoever has the clients' secret writes past every quorum, votes on rings and moves copies.
#[tokio::test]
async fn a_client_that_speaks_as_a_node_is_cut_off() {
    let mut node = setup("a").start().await;
    for unfit in [request(1), answer(2, Bytes::new()), bulk(3, Bytes::new())] {
        let mut client = setup("b").client();
        client.send(&node.peer, unfit);
        assert_eq!(
            client.undelivered().await,
            [],
            "it left, and so the connection"
        );
    }
    let client = setup("b").client();
    client.send(&node.peer, ask(4));
    let (from, envelope) = node.message().await;
    assert_eq!((from.role, envelope), (Role::Client, ask(4)));
}

/// Lost without it: a hung node whose kernel goes on taking what nobody reads, and requests that wait for it.
#[tokio::test]
async fn a_hung_node_is_noticed() {
    let mut a = setup("a").start().await;
    let (tell, started) = tokio::sync::oneshot::channel();
    let (let_go, hang) = std::sync::mpsc::channel::<()>();
    let frozen = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _b = runtime.block_on(async {
            let mut b = setup("b").start().await;
            tell.send(b.peer.clone()).unwrap();
            b.message().await;
            b
        });
        let _ = hang.recv(); // its sockets are open, and nothing runs
    });
    let b = started.await.unwrap();
    a.send(&b, request(1));
    assert_eq!(a.undelivered().await, []);
    drop(let_go);
    frozen.join().unwrap();
}

/// Lost without it: game days, and every test that cuts or slows a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_cut_and_slowed_on_purpose() {
    let mut a = setup("a").start().await;
    let mut b = setup("b").start().await;
    a.reach(&mut b, 1).await;
    b.reach(&mut a, 2).await;
    let dropped = Faults {
        dropped: ["b".into()].into(),
        ..Faults::default()
    };
    a.transport.faults().set(dropped);
    a.send(&b.peer, request(3));
    b.send(&a.peer, request(4));
    assert_eq!(a.undelivered().await, []);
    assert_eq!(b.undelivered().await, []);
    a.send(&b.peer, request(5));
    assert!(is_request(&a.undelivered().await[0], 5));

    let delay = Duration::from_millis(150);
    let slow = Faults {
        delay: [("b".into(), delay)].into(),
        ..Faults::default()
    };
    a.transport.faults().set(slow);
    a.reach(&mut b, 6).await;
    b.reach(&mut a, 7).await;
    let begun = std::time::Instant::now();
    for id in 8..100 {
        a.send(&b.peer, request(id));
    }
    for id in 8..100 {
        assert!(is_request(&b.message().await.1, id));
    }
    assert!(begun.elapsed() >= delay);
    let begun = std::time::Instant::now();
    for id in 100..200 {
        b.send(&a.peer, request(id));
    }
    for id in 100..200 {
        assert!(is_request(&a.message().await.1, id));
    }
    assert!(begun.elapsed() >= delay);

    a.transport.faults().set(Faults::default());
    a.reach(&mut b, 200).await;
    b.reach(&mut a, 201).await;
}

/// Lost without it: a queue that grows without bound, or messages that are lost there without a word.
#[tokio::test]
async fn a_full_queue_and_a_message_over_its_bound_come_back() {
    let mut a = setup("a").start().await;
    let mut b = setup("b").start().await;
    a.reach(&mut b, 1).await;
    let over = answer(2, Bytes::from(vec![0; MAX_BODY + 1]));
    a.send(&b.peer, over.clone());
    match a.event().await {
        Event::Overloaded(name, back) => assert_eq!((name, back), ("b".into(), vec![over])),
        other => panic!("{other:?}"),
    }
    // nothing is written between these sends: this runtime has one thread
    let first = 10;
    let bound = first + QUEUE_MESSAGES as u64;
    for id in first..bound + 5 {
        a.send(&b.peer, request(id));
    }
    match a.event().await {
        Event::Overloaded(_, back) => {
            let expected: Vec<Envelope> = (bound..bound + 5).map(request).collect();
            assert_eq!(back, expected);
        }
        other => panic!("{other:?}"),
    }
    for id in first..bound {
        assert!(is_request(&b.message().await.1, id));
    }
}

/// Lost without it: answers that a stopping node owes and never gives.
#[tokio::test]
async fn closing_writes_what_waits() {
    let a = setup("a").start().await;
    let mut b = setup("b").start().await;
    let body = Bytes::from(vec![1; 10_000]);
    for id in 0..1000 {
        a.send(&b.peer, answer(id, body.clone()));
    }
    let (closed, received) = tokio::join!(a.transport.close(PATIENCE), async {
        for id in 0..1000 {
            assert_eq!(b.message().await.1.clock, id);
        }
    });
    assert_eq!((closed, received), ((), ()));
    let refused = b.transport.connect(&a.peer.address).await;
    assert!(matches!(refused, Err(ConnectError::Io(_))));
    a.send(&b.peer, request(1)); // after the end: nothing happens
}
