//! This file answers: how does a test get a cluster of its own?
//!
//! Real nodes in this process, which talk over loopback sockets: joined, committed and settled before the test begins.
//! Their data is in memory, so a node that was killed comes back empty and fills itself from the others. Each has a
//! runtime of its own: a test that blocks its own does not make them look dead.

use std::net::UdpSocket;
use std::time::Duration;

use rkv_ring::cluster::{AdminReply, AdminRequest};
use rkv_ring::{NodeName, Refusal, Status};
use rkv_server::{Node, Settings, Switches};
use rkv_wire::message::CopyState;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::error::Error;

/// How long the cluster may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// How often a port is looked for that is free for TCP and for UDP.
const PORTS_TRIED: usize = 50;
/// Threads of each node, besides those of its keeper and of gossip.
const THREADS: usize = 2;

/// A test cluster could not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("test cluster: {0}")]
pub struct TestClusterError(String);

type Result<T> = std::result::Result<T, TestClusterError>;

fn error(error: impl std::fmt::Display) -> TestClusterError {
    TestClusterError(format!("{error:#}"))
}

/// A cluster in this process. Ends when dropped.
pub struct TestCluster {
    nodes: Vec<Place>,
    secret: Option<String>,
    folder: TempDir,
}

/// Where one node lives, running or not.
struct Place {
    name: NodeName,
    address: String,
    running: Option<Running>,
}

struct Running {
    node: Node,
    runtime: Runtime,
}

impl TestCluster {
    /// A cluster of `nodes` nodes (`node1`, `node2`, ...), 16 partitions and three replicas.
    pub async fn start(nodes: usize) -> Result<TestCluster> {
        TestCluster::begin(nodes, None).await
    }

    /// The same with a `cluster.client_secret`.
    pub async fn start_with_secret(nodes: usize, secret: &str) -> Result<TestCluster> {
        TestCluster::begin(nodes, Some(secret.to_owned())).await
    }

    async fn begin(nodes: usize, secret: Option<String>) -> Result<TestCluster> {
        let mut cluster = TestCluster {
            nodes: Vec::new(),
            secret,
            folder: tempfile::tempdir().map_err(error)?,
        };
        for number in 1..=nodes {
            let address = free_address()?;
            cluster.nodes.push(Place {
                name: format!("node{number}").into(),
                address,
                running: None,
            });
            cluster.run(number - 1).await?;
        }
        if nodes > 1 {
            let peer = cluster.nodes[0].address.clone();
            for node in 1..nodes {
                let peer = peer.clone();
                cluster.admin(node, AdminRequest::Join { peer }).await?;
            }
            cluster
                .admin(
                    0,
                    AdminRequest::Commit {
                        plan: None,
                        wall_ms: 0,
                    },
                )
                .await?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// The nodes' peer addresses, for [`Builder::seeds`](crate::Builder::seeds).
    pub fn seeds(&self) -> Vec<String> {
        let addresses = self.nodes.iter().map(|place| place.address.clone());
        addresses.collect()
    }

    /// A client of this cluster, with the secret if there is one.
    pub async fn client(&self) -> std::result::Result<Client, Error> {
        let builder = Client::builder().seeds(self.seeds());
        match &self.secret {
            Some(secret) => builder.secret(secret).build().await,
            None => builder.build().await,
        }
    }

    /// Ends node `i` (from 0) at once, as kill -9 would; its data is gone. Does nothing to one that does not run.
    pub async fn kill(&mut self, i: usize) -> Result<()> {
        match self.place(i)?.running.take() {
            Some(running) => running.end(|node| node.kill()).await,
            None => Ok(()),
        }
    }

    /// Ends node `i` as SIGTERM would: it sends its clients elsewhere and finishes what it has begun.
    pub async fn stop(&mut self, i: usize) -> Result<()> {
        let Some(running) = self.place(i)?.running.take() else {
            return Ok(());
        };
        let finish = |node: Node| async move {
            node.say_goodbye();
            let _ = tokio::time::timeout(PATIENCE, node.finished()).await;
            node.close().await
        };
        running.end(finish).await
    }

    /// Starts node `i` again, under its name and at its address. [`settled`](TestCluster::settled) waits until it has
    /// filled itself.
    pub async fn restart(&mut self, i: usize) -> Result<()> {
        self.kill(i).await?;
        self.run(i).await
    }

    /// Until all that runs agrees on the ring, sees each other, and has what it should have.
    pub async fn settled(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(unsettled) = self.unsettled() else {
                return Ok(());
            };
            if Instant::now() > until {
                return Err(TestClusterError(format!("not settled: {unsettled}")));
            }
            sleep(LOOK).await;
        }
    }

    fn place(&mut self, i: usize) -> Result<&mut Place> {
        let nodes = self.nodes.len();
        let place = self.nodes.get_mut(i);
        place.ok_or_else(|| TestClusterError(format!("there is no node {i} of {nodes}")))
    }

    /// What keeps the cluster from rest.
    fn unsettled(&self) -> Option<String> {
        let running = || {
            let all = self.nodes.iter();
            all.filter_map(|place| Some((place, place.running.as_ref()?.node.engine())))
        };
        let mut first = None;
        for (place, engine) in running() {
            let (name, view) = (&place.name, engine.view());
            let ring = view.ring();
            if *first.get_or_insert(view.id()) != view.id() {
                return Some(format!("{name} has another ring"));
            }
            let is_member = |member: &NodeName| {
                let member = ring.members.get(member);
                member.is_some_and(|member| member.status == Status::Valid)
            };
            if !self.nodes.iter().all(|place| is_member(&place.name)) {
                return Some(format!("{name} does not have all as members"));
            }
            if !ring.moves.is_empty() || !ring.next.is_empty() || !ring.staged.is_empty() {
                return Some(format!("copies move by the ring of {name}"));
            }
            for other in &self.nodes {
                if view.is_up(&other.name) != other.running.is_some() {
                    return Some(format!("{name} is wrong about {}", other.name));
                }
            }
            let report = engine.host().report();
            let is_filling = |state| matches!(state, CopyState::CatchingUp | CopyState::Receiving);
            if report.copies.iter().any(|copy| is_filling(copy.state)) {
                return Some(format!("copies of {name} are filling"));
            }
            if report.transfers.iter().any(|transfer| {
                let to = self.nodes.iter().find(|place| place.name == transfer.to);
                !transfer.settled && to.is_some_and(|place| place.running.is_some())
            }) {
                return Some(format!("{name} has transfers to do"));
            }
        }
        None
    }

    async fn run(&mut self, i: usize) -> Result<()> {
        let (secret, folder) = (self.secret.clone(), self.folder.path().to_owned());
        let place = self.place(i)?;
        let data_dir = folder.join(place.name.as_str());
        let settings = Settings {
            client_secret: secret,
            ..Settings::in_memory(place.name.clone(), data_dir, place.address.clone())
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(place.name.as_str())
            .enable_all()
            .build()
            .map_err(error)?;
        let address = place.address.clone();
        let started = runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.map_err(error)?;
            Node::start(&settings, listener, Switches::default()).map_err(error)
        });
        let node = started.await.map_err(error)?;
        match node {
            Ok(node) => place.running = Some(Running { node, runtime }),
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Asks the ring's machine of node `i`.
    async fn admin(&self, i: usize, request: AdminRequest) -> Result<()> {
        let Some(running) = &self.nodes[i].running else {
            return Err(TestClusterError(format!("node {i} does not run")));
        };
        let (tell, told) = oneshot::channel::<std::result::Result<AdminReply, Refusal>>();
        let done = Box::new(move |result| drop(tell.send(result)));
        running.node.engine().admin(request, done);
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(refusal))) => Err(TestClusterError(refusal.message())),
            Ok(Err(_)) | Err(_) => Err(TestClusterError("no answer about the ring".to_owned())),
        }
    }
}

impl Running {
    /// Ends it on its own runtime, and then that.
    async fn end<F>(self, how: impl FnOnce(Node) -> F) -> Result<()>
    where
        F: Future<Output: Send + 'static + Into<Ended>> + Send + 'static,
    {
        let ended = self.runtime.spawn(how(self.node)).await;
        self.runtime.shutdown_background();
        ended.map_err(error)?.into().0
    }
}

/// How the end of a node went.
struct Ended(Result<()>);

impl<E: std::fmt::Display> From<std::result::Result<(), E>> for Ended {
    fn from(result: std::result::Result<(), E>) -> Ended {
        Ended(result.map_err(error))
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            for place in &mut self.nodes {
                if let Some(Running { node, runtime }) = place.running.take() {
                    // A runtime may be waited for only where none runs.
                    scope.spawn(move || runtime.block_on(node.kill()));
                }
            }
        });
    }
}

impl std::fmt::Debug for TestCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestCluster")
            .field("seeds", &self.seeds())
            .finish_non_exhaustive()
    }
}

/// An address whose port is free for TCP and for UDP.
fn free_address() -> Result<String> {
    for _ in 0..PORTS_TRIED {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").map_err(error)?;
        let address = tcp.local_addr().map_err(error)?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address.to_string());
        }
    }
    Err(TestClusterError("no port is free".to_owned()))
}
