//! A client's promises, seen from the other end of the wire.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use rkv_client::{Client, Error, TestCluster};
use rkv_ring::{ClusterId, Epoch, Incarnation, NodeName, PartitionCount, RingId};
use rkv_wire::handshake::{Identity, PROTOCOL_MAX, PROTOCOL_MIN, PeerInfo, Role, Secrets};
use rkv_wire::message::{self, Command, Envelope, Message, RequestId, ServiceId};
use rkv_wire::request::{Reply, Request, RoutingTable, TableNode};
use rkv_wire::tcp::{TcpConfig, TcpTransport, Timings};
use rkv_wire::{FaultSwitch, Handler, Peer, Transport};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const PATIENCE: Duration = Duration::from_secs(30);

fn transport(name: &str, role: Role, address: &str) -> TcpTransport {
    TcpTransport::new(TcpConfig {
        identity: Identity {
            name: name.into(),
            incarnation: Incarnation(7),
            boot: 1,
            role,
            address: address.to_owned(),
            cluster: "test".to_owned(),
            protocol: (PROTOCOL_MIN, PROTOCOL_MAX),
        },
        secrets: Secrets::none(),
        timings: Timings::default(),
        faults: Arc::new(FaultSwitch::new()),
    })
}

/// A node that tells a ring of itself alone, and answers nothing else.
struct Silent {
    address: String,
    transport: OnceLock<Arc<TcpTransport>>,
    puts: AtomicUsize,
    /// Whether a put ends its connections.
    hangs_up: bool,
}

const RING: RingId = RingId {
    cluster: ClusterId(1),
    lineage: 0,
    epoch: Epoch(1),
};

impl Silent {
    async fn start(hangs_up: bool) -> Arc<Silent> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let transport = Arc::new(transport("silent", Role::Peer, &address));
        let node = Arc::new(Silent {
            address,
            transport: transport.clone().into(),
            puts: AtomicUsize::new(0),
            hangs_up,
        });
        transport.start(Some(listener), node.clone());
        node
    }

    fn puts(&self) -> usize {
        self.puts.load(Ordering::Relaxed)
    }

    fn ring(&self) -> Reply {
        Reply::Ring(Box::new(RoutingTable {
            ring: RING,
            partitions: PartitionCount::new(8).unwrap(),
            replicas: 1,
            nodes: vec![TableNode {
                name: "silent".into(),
                address: self.address.clone(),
                up: true,
            }],
            rows: vec![vec![0]; 8],
        }))
    }
}

impl Handler for Silent {
    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        let transport = self.transport.get().unwrap();
        match envelope.message {
            Message::Request {
                id,
                request: Request::Ring,
                ..
            } => {
                let message = Message::Reply {
                    id,
                    ring: RING,
                    reply: Box::new(self.ring()),
                    body: Bytes::new(),
                };
                transport.send(&from.peer(), Envelope { clock: 0, message });
            }
            Message::Request { .. } => {
                self.puts.fetch_add(1, Ordering::Relaxed);
                if self.hangs_up {
                    let transport = transport.clone();
                    tokio::spawn(async move { transport.abort().await });
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn unreachable(&self, _: &NodeName, _: Vec<Envelope>) {}
}

async fn client_of(node: &Silent, timeout_ms: u64) -> Client {
    let builder = Client::builder().seeds([node.address.clone()]);
    let builder = builder.timeout(Duration::from_millis(timeout_ms));
    builder.build().await.unwrap()
}

/// Lost without it: a write that may have been applied is sent again, and undoes what came between.
#[tokio::test]
async fn an_unknown_write_is_not_sent_again() {
    for hangs_up in [true, false] {
        let node = Silent::start(hangs_up).await;
        let client = client_of(&node, 1500).await;
        let error = client.put("k", "v").await.unwrap_err();
        assert!(
            error.was_maybe_applied() && !error.is_retryable(),
            "{error:?}"
        );
        assert_eq!(node.puts(), 1, "hangs up: {hangs_up}");
    }
    let node = Silent::start(false).await;
    let insist = |tries: u32, _: &Error| (tries < 3).then_some(Duration::from_millis(1));
    let builder = Client::builder()
        .seeds([node.address.clone()])
        .retry(insist);
    let client = builder
        .timeout(Duration::from_secs(30))
        .build()
        .await
        .unwrap();
    let brief = Duration::from_millis(100);
    client.put_quorum("k", "v", 1, 1, brief).await.unwrap_err();
    assert_eq!(node.puts(), 1, "its time is over after one");
}

struct Recorder(UnboundedSender<Option<Envelope>>);

impl Handler for Recorder {
    fn message(&self, _: &PeerInfo, envelope: Envelope) {
        let _ = self.0.send(Some(envelope));
    }

    fn unreachable(&self, _: &NodeName, _: Vec<Envelope>) {
        let _ = self.0.send(None);
    }
}

/// Lost without it: a client writes past every quorum, or takes a member's place by calling itself like it.
#[tokio::test]
async fn a_client_that_speaks_as_a_node_is_cut_off() {
    let cluster = TestCluster::start(2).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("k", "v").await.unwrap();
    let node1 = Peer {
        name: "node1".into(),
        address: cluster.seeds()[0].clone(),
    };
    // It bears a member's name, and an address that leads nowhere.
    let impostor = transport("node2", Role::Client, "127.0.0.1:1");
    let (tell, mut told) = unbounded_channel();
    impostor.start(None, Arc::new(Recorder(tell)));
    let ask = |message| {
        impostor.send(
            &node1,
            Envelope {
                clock: u64::MAX,
                message,
            },
        );
    };
    ask(Message::Request {
        id: RequestId(1),
        within_ms: 1000,
        cluster: None,
        request: Request::Ring,
        body: Bytes::new(),
    });
    let answer = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap();
    let table = match answer.unwrap().map(|envelope| envelope.message) {
        Some(Message::Reply { reply, .. }) => match *reply {
            Reply::Ring(table) => table,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    ask(Message::Command {
        id: RequestId(2),
        service: ServiceId(1),
        slot: rkv_ring::Slot::of(b"k"),
        ring: table.ring,
        role: message::Role::Owner,
        within_ms: 1000,
        command: Command::Get {
            key: Bytes::from_static(b"k"),
        },
        body: Bytes::new(),
    });
    let cut = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap();
    assert_eq!(cut, Some(None), "no answer but the end of the connection");
    // node1 still reaches the real node2: both places must store this.
    for number in 0..20 {
        let key = format!("after:{number}");
        let put = client.put_quorum(key, "v", 3, 3, PATIENCE).await.unwrap();
        assert!(
            put.result
                .iter()
                .any(|replica| replica.node.as_str() == "node2")
        );
    }
    impostor.abort().await;
}
