//! Strangers and peers that are slow on purpose, over real sockets of this machine.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rkv_ring::Incarnation;
use rkv_wire::codec::{Batch, Decoder, Frame, Kind, Limits};
use rkv_wire::handshake::{Handshake, PROTOCOL_MAX, PROTOCOL_MIN, Purpose, Remote, Role, Step};
use rkv_wire::message::{Answer, RequestId};
use rkv_wire::request::Request;
use rkv_wire::tcp::{MAX_HANDSHAKES, TcpConfig, TcpTransport, Timings};
use rkv_wire::{
    Envelope, FaultSwitch, Handler, Identity, Message, Peer, PeerInfo, Secrets, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A machine may be busy; only that it happens matters.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(400);

/// Tells who spoke, and who went.
struct Recorder(
    UnboundedSender<(&'static str, PeerInfo)>,
    UnboundedSender<usize>,
);

impl Handler for Recorder {
    fn message(&self, from: &PeerInfo, _: Envelope) {
        let _ = self.0.send(("spoke", from.clone()));
    }

    fn unreachable(&self, _: &rkv_ring::NodeName, undelivered: Vec<Envelope>) {
        let _ = self.1.send(undelivered.len());
    }
}

struct Node {
    transport: TcpTransport,
    address: String,
    spoke: UnboundedReceiver<(&'static str, PeerInfo)>,
    lost: UnboundedReceiver<usize>,
}

fn identity(name: &str, role: Role, address: &str) -> Identity {
    Identity {
        name: name.into(),
        incarnation: Incarnation(7),
        boot: 1,
        role,
        address: address.to_owned(),
        cluster: "test".into(),
        protocol: (PROTOCOL_MIN, PROTOCOL_MAX),
    }
}

async fn node(timings: Timings) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let transport = TcpTransport::new(TcpConfig {
        identity: identity("a", Role::Peer, &address),
        secrets: Secrets::none(),
        timings,
        faults: Arc::new(FaultSwitch::new()),
    });
    let ((tell, spoke), (tell_lost, lost)) = (unbounded_channel(), unbounded_channel());
    transport.start(Some(listener), Arc::new(Recorder(tell, tell_lost)));
    Node {
        transport,
        address,
        spoke,
        lost,
    }
}

async fn say(stream: &mut TcpStream, kind: Kind, header: &[u8]) {
    let mut batch = Batch::new();
    batch.push_bare(kind, header);
    let mut bytes = BytesMut::new();
    batch.copy_to(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
}

async fn hear(stream: &mut TcpStream, decoder: &mut Decoder, buffer: &mut BytesMut) -> Frame {
    loop {
        if let Some(frame) = decoder.next(buffer).unwrap() {
            return frame;
        }
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "it hung up");
    }
}

/// A client's connection, made by hand.
async fn by_hand(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut decoder, mut buffer) = (Decoder::new(Limits::HANDSHAKE), BytesMut::new());
    let me = identity("app", Role::Client, "");
    let dialled = Handshake::dial(
        me,
        Secrets::none(),
        Purpose::Requests,
        [1; 32],
        Remote::Loopback,
    );
    let (mut handshake, hello) = dialled.unwrap();
    say(&mut stream, Kind::Handshake, &hello).await;
    loop {
        let frame = hear(&mut stream, &mut decoder, &mut buffer).await;
        match handshake.step(frame.header()) {
            Step::Send(message) => say(&mut stream, Kind::Handshake, &message).await,
            Step::Done { .. } => return stream,
            Step::Failed { error, .. } => panic!("{error}"),
        }
    }
}

async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // A reset is an end as well.
    let _ = read.expect("the connection is ended");
}

/// Lost without it: connections that never say who they are, or one byte now and then, keep the cluster's own out for ever.
#[tokio::test]
async fn strangers_have_little_time_and_few_places() {
    let node = node(Timings {
        accept_handshake: SHORT,
        ..Timings::default()
    })
    .await;
    // The prefix of the longest step that is taken, whole; its header never comes.
    let mut batch = Batch::new();
    batch.push_bare(Kind::Handshake, &[0; 4096]);
    let mut claim = BytesMut::new();
    batch.copy_to(&mut claim);
    for begun in [&b""[..], b"rkv", &claim[..24], &claim[..4000]] {
        let mut stream = TcpStream::connect(&node.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        ended(&mut stream).await;
    }
    let mut slow = TcpStream::connect(&node.address).await.unwrap();
    let trickling = async {
        for byte in claim.iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 20).await;
        }
    };
    let ended_in_time = tokio::time::timeout(PATIENCE, trickling).await;
    ended_in_time.expect("the connection is ended");

    let mut crowd = Vec::new();
    for _ in 0..2 * MAX_HANDSHAKES {
        crowd.push(TcpStream::connect(&node.address).await.unwrap());
    }
    for stream in &mut crowd {
        ended(stream).await;
    }
    by_hand(&node.address).await;
}

/// Lost without it: a client that speaks and never reads, whose answers fill the memory for as long as it likes.
#[tokio::test]
async fn who_takes_nothing_is_hung() {
    let mut node = node(Timings {
        beat: Duration::from_millis(50),
        silent_beats: u32::MAX,
        stuck_beats: 4,
        ..Timings::default()
    })
    .await;
    let mut stream = by_hand(&node.address).await;
    let question = Envelope {
        clock: 0,
        message: Message::Request {
            id: RequestId(1),
            within_ms: 1_000,
            cluster: None,
            request: Request::Ring,
            body: Bytes::new(),
        },
    };
    let mut batch = Batch::new();
    batch.push(&question).unwrap();
    let mut bytes = BytesMut::new();
    batch.copy_to(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
    let spoke = tokio::time::timeout(PATIENCE, node.spoke.recv()).await;
    let (_, from) = spoke.expect("the question arrives").unwrap();
    let to = Peer {
        name: from.name,
        address: String::new(),
    };
    for id in 0..64 {
        let answer = Message::Answer {
            id: RequestId(id),
            answer: Answer::Found,
            body: Bytes::from(vec![0; 1 << 20]),
        };
        let (clock, message) = (0, answer);
        node.transport.send(&to, Envelope { clock, message });
    }
    let lost = tokio::time::timeout(PATIENCE, node.lost.recv()).await;
    assert!(lost.expect("it is noticed").unwrap() > 0);
    ended(&mut stream).await;
}
