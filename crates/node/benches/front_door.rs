//! How near does a node come to a server that stores nothing? `cargo bench -p rkv-node --bench front_door`
//!
//! The yardstick answers SET with OK and GET with 100 bytes, on the same runtime with the same parser, replies and
//! allocator, and knows no key. It and a node of one in memory are asked in turns by the loops of `rkv bench`; told is the
//! node's share of the yardstick's throughput.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rkv_bench::{Driver, Extent, Plan};
use rkv_resp::{Limits, Protocol, Reply, RequestParser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of each side.
const ROUNDS: u32 = 5;
/// Of all rounds together.
const RECORDED: Duration = Duration::from_secs(10);
const VALUE: [u8; 100] = [b'x'; 100];

fn main() {
    let yardstick = start_yardstick();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut node = Node::start(folder.path());
    for pipeline in [1, 16] {
        let plan = Plan {
            driver: Driver::Redis,
            targets: vec![node.redis.to_string()],
            against: Some(yardstick.to_string()),
            rounds: ROUNDS,
            workers: 50,
            extent: Extent::Duration(RECORDED),
            warmup: Duration::from_millis(500),
            mix: "put:1,get:1".parse().expect("a mix"),
            pipeline,
            test_dir: folder.path().join("results"),
            ..Plan::default()
        };
        let finished = rkv_bench::run(&plan).expect("both sides answer");
        for (operation, ratio) in finished.summary.ratios.unwrap_or_default() {
            println!(
                "{operation}, {pipeline} together: {:.2} of the yardstick ({:.2} to {:.2} in {ROUNDS} rounds)",
                ratio.median, ratio.lowest, ratio.highest
            );
        }
    }
    node.stop();
}

/// A node of the program, on ports of its own.
struct Node {
    process: Child,
    redis: SocketAddr,
}

impl Node {
    fn start(folder: &Path) -> Node {
        let [redis, peer, http] = [free_port(), free_port(), free_port()];
        let settings = [
            format!("listen.redis={redis}"),
            format!("listen.peer={peer}"),
            format!("listen.http={http}"),
            format!("node.data_dir={}", folder.join("data").display()),
            "storage.backend=memory".to_owned(),
            "default.n=1".to_owned(),
            "log.level=error".to_owned(),
        ];
        let sets = settings.iter().flat_map(|set| ["--set", set]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rkv"));
        let process = command
            .arg("start")
            .args(sets)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the program starts");
        let until = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(redis).is_err() {
            assert!(Instant::now() < until, "the node does not listen");
            thread::yield_now();
        }
        Node { process, redis }
    }

    fn stop(&mut self) {
        // Nothing of it is to be kept.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

fn start_yardstick() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("its address");
            tell.send(address).expect("somebody waits");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    told.recv().expect("the yardstick listens")
}

/// Answers one connection until it ends.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut parser = RequestParser::new(Limits::default());
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    loop {
        input.reserve(16 << 10);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Ok(Some(request)) = parser.next(&mut input) {
            let is_get = request.args[0].eq_ignore_ascii_case(b"get");
            let reply = if is_get {
                Reply::bulk(&VALUE[..])
            } else {
                Reply::OK
            };
            reply.write(Protocol::Resp2, &mut output);
        }
        stream.write_all_buf(&mut output).await?;
    }
}
