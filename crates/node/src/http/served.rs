//! This file answers: do the pieces serve a node together?
//!
//! One engine over a store in memory, one listener on loopback, and a keeper that is stepped by whoever tells it
//! something.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use rkv_cluster::keeper::{Keeper, RingStore};
use rkv_kv::{Bounds, Engine, Keyspace, KvService, Surroundings};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::Defaults;
use rkv_ring::cluster::{ClusterMessage, Config, Event, Facts, Stored, Target};
use rkv_ring::{Cluster, ClusterId, NodeName, PartitionCount, Ring};
use rkv_storage::{BackendKind, Durability};
use rkv_vnode::ping::Ping;
use rkv_vnode::{Beginning, Fault, Host, Settings, World};
use rkv_wire::faults::FaultSwitch;
use rkv_wire::message::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::survey::fixture::identity;
use super::*;
use crate::cli::documents;

/// A node with nobody around it.
struct Alone {
    start: Instant,
    keeper: Mutex<std::sync::mpsc::Sender<Event>>,
}

impl World for Alone {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap().as_millis() as u64
    }

    fn send(&self, to: &NodeName, message: Message) {
        panic!("there is nobody to send {to} {message:?}");
    }
}

impl Surroundings for Alone {
    fn tell_keeper(&self, event: Event) {
        // Ends with the keeper's thread.
        let _ = self.keeper.lock().send(event);
    }
    fn send_cluster(&self, _: Target, _: ClusterMessage) {}
    fn publish(&self, _: Facts) {}
    fn adopted(&self, _: &Arc<Ring>) {}
    fn left(&self) {}
    fn warn(&self, text: String) {
        panic!("{text}");
    }
}

struct Forgets;

impl RingStore for Forgets {
    fn save(&mut self, _: &Stored) -> Result<(), String> {
        Ok(())
    }
}

fn engine(dir: &std::path::Path, faults: rkv_storage::Faults) -> Arc<Engine> {
    let (keeper, events) = std::sync::mpsc::channel();
    let world = Arc::new(Alone {
        start: Instant::now(),
        keeper: Mutex::new(keeper),
    });
    let me = identity(1);
    let q = PartitionCount::new(16).unwrap();
    let stored = Stored::found(&me, ClusterId(7), "rkv", q, 3);
    let opened = rkv_storage::open(BackendKind::Memory, dir).unwrap();
    let interval = std::time::Duration::from_millis(100);
    let store = rkv_storage::start(opened.backend, Durability::Batch, interval, faults).unwrap();
    let settings = Settings {
        boot: 1,
        max_drift_ms: 500,
        transfers: 2,
        bytes_per_s: 0,
        grace_ms: 10_000,
        delete_grace_ms: 86_400_000,
        void_after_ms: 12_000,
        anti_entropy_ms: 1_000,
        fault: Fault::default(),
    };
    let host = Host::open(
        me.name.clone(),
        stored.ring.clone(),
        vec![Arc::new(Ping), Arc::new(KvService)],
        store,
        world.clone(),
        settings,
        Beginning::Founded,
    );
    let keyspace = Keyspace::default_with(Defaults::default());
    let clock = Arc::new(Clock::new(1, 500));
    let engine = Engine::start(
        host.unwrap_or_else(|error| panic!("{error}")),
        world.clone(),
        clock,
        Drift::new(500),
        keyspace,
        Bounds::default(),
        1,
    );
    let machine = Cluster::new(me, stored, Config::default(), 0);
    let outward = engine.clone();
    std::thread::spawn(move || {
        let mut keeper = Keeper::new(machine, Box::new(Forgets));
        for event in events {
            keeper.step(world.now_ms(), event, &*outward);
        }
    });
    engine
}

struct Served {
    base: String,
    engine: Arc<Engine>,
    state: Arc<NodeState>,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

async fn served(token: Option<&str>, with_faults: bool) -> Served {
    served_with(token, with_faults, Patience::default()).await
}

async fn served_with(token: Option<&str>, with_faults: bool, patience: Patience) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let disk = rkv_storage::Faults::default();
    let engine = engine(dir.path(), disk.clone());
    let faults = with_faults.then(|| FaultsHandle::new(Arc::new(FaultSwitch::new()), disk));
    let state = Arc::new(NodeState::default());
    let token = token.map(str::to_owned);
    let watched = Watched::default();
    let http = Http::new(
        engine.clone(),
        token,
        faults,
        state.clone(),
        watched,
        patience,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let until = async { drop(stopped.await) };
    Served {
        base,
        engine,
        state,
        stop,
        serving: tokio::spawn(serve(listener, router(http), patience, until)),
        _dir: dir,
    }
}

impl Served {
    /// Status and document of one request.
    async fn ask(
        &self,
        method: &'static str,
        path: &str,
        body: Option<Value>,
        token: Option<&'static str>,
    ) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        let asking = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .into();
            let mut request = axum::http::Request::builder().method(method).uri(url);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let body = body.map(|body| body.to_string()).unwrap_or_default();
            let mut response = agent.run(request.body(body).unwrap()).unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            let document = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (response.status().as_u16(), document)
        });
        asking.await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, None, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", path, Some(body), None).await
    }
}

/// Lost without it: each document is right by itself and no path leads to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_answers_every_path() {
    let node = served(None, false).await;
    assert_eq!(node.get("/health/live").await.0, 200);
    let ready = node.get("/health/ready").await;
    assert_eq!((ready.0, &ready.1["reason"]), (503, &json!("starting")));
    node.state.set_ready();
    assert_eq!(node.get("/health/ready").await.0, 200);
    let health = node.get("/health/cluster").await;
    assert_eq!((health.0, &health.1["health"]), (200, &json!("ok")));

    let three = json!({"key": "a", "value": "1", "n": 3, "w": 3});
    let (status, put) = node.post("/v1/kv/put", three).await;
    assert_eq!((status, &put["ok"]), (200, &json!(true)), "{put}");
    assert_eq!(put["replicas"].as_array().unwrap().len(), 3);
    let (_, got) = node.post("/v1/kv/get", json!({"key_base64": "YQ=="})).await;
    assert_eq!((&got["found"], &got["value"]), (&json!(true), &json!("1")));
    assert_eq!(got["context"], put["context"]);
    let context = put["context"].clone();
    let (status, _) = node
        .post("/v1/kv/delete", json!({"key": "a", "context": context}))
        .await;
    assert_eq!(status, 200);
    let (status, got) = node.post("/v1/kv/get", json!({"key": "a", "r": 2})).await;
    assert_eq!((status, &got["found"]), (200, &json!(false)));

    let (_, pong) = node.post("/v1/ping", json!({"value": 3})).await;
    assert_eq!((&pong["pong"], &pong["node"]), (&json!(4), &json!("node1")));

    for path in [
        "members",
        "status",
        "plan",
        "ring",
        "ring?key=a",
        "transfers",
        "can-stop",
    ] {
        let (status, document) = node.get(&format!("/v1/cluster/{path}")).await;
        assert_eq!(status, 200, "{path}: {document}");
    }
    assert_eq!(node.get("/v1/cluster/plan").await.1["plan"], json!(null));
    assert_eq!(node.post("/v1/cluster/clear", json!({})).await.0, 200);
    assert_eq!(node.get("/v1/cluster/status").await.1["settled"], true);
    assert_eq!(node.get("/v1/status").await.1["health"], "ok");

    let Served { stop, serving, .. } = node;
    stop.send(()).unwrap();
    serving.await.unwrap();
}

/// Lost without it: the command line would not understand a document that is right for scripts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_reads_every_document() {
    let node = served(None, false).await;
    reads::<documents::Status>(node.get("/v1/status").await);
    reads::<documents::Members>(node.get("/v1/cluster/members").await);
    reads::<documents::ClusterStatus>(node.get("/v1/cluster/status").await);
    reads::<documents::Plan>(node.get("/v1/cluster/plan").await);
    reads::<documents::RingTable>(node.get("/v1/cluster/ring").await);
    reads::<documents::KeyPlace>(node.get("/v1/cluster/ring?key=a%20b").await);
    reads::<documents::Transfers>(node.get("/v1/cluster/transfers").await);
    reads::<documents::CanStop>(node.get("/v1/cluster/can-stop?node=node1").await);
    reads::<documents::Cleared>(node.post("/v1/cluster/clear", json!({})).await);
    let ping = json!(documents::PingRequest { value: 1 });
    reads::<documents::Pong>(node.post("/v1/ping", ping).await);
    let operation = json!(documents::KvRequest {
        key_base64: Some("YQ==".to_owned()),
        value_base64: Some("YQ==".to_owned()),
        keyspace: Some("default".to_owned()),
        n: Some(3),
        r: Some(2),
        w: Some(2),
        pr: Some(1),
        pw: Some(1),
        timeout_ms: Some(1_000),
        ..documents::KvRequest::default()
    });
    reads::<documents::PutAnswer>(node.post("/v1/kv/put", operation.clone()).await);
    reads::<documents::GetAnswer>(node.post("/v1/kv/get", operation.clone()).await);
    reads::<documents::PutAnswer>(node.post("/v1/kv/delete", operation).await);
}

fn reads<T: serde::de::DeserializeOwned>((status, document): (u16, Value)) {
    assert_eq!(status, 200, "{document}");
    if let Err(error) = serde_json::from_value::<T>(document.clone()) {
        panic!("{error}: {document}");
    }
}

/// Lost without it: somebody's mistake would be answered with something that no script reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_gets_the_error_document() {
    let node = served(None, false).await;
    let key = "k".repeat(70_000);
    let padding = "v".repeat(17 << 20);
    for (path, body, status, kind, reason) in [
        ("/v1/kv/get", json!({"key": ""}), 400, "usage", "bad_key"),
        ("/v1/kv/get", json!({"key": key}), 400, "usage", "bad_key"),
        (
            "/v1/kv/get",
            json!({"key": "a", "r": 4}),
            400,
            "usage",
            "bad_quorum",
        ),
        ("/v1/kv/get", json!({"kye": "a"}), 400, "usage", "bad_body"),
        (
            "/v1/kv/put",
            json!({"key": "a", "value": padding}),
            400,
            "usage",
            "bad_body",
        ),
        (
            "/v1/kv/put",
            json!({"key": "a"}),
            400,
            "usage",
            "missing_field",
        ),
        (
            "/v1/kv/get",
            json!({"key": "a", "keyspace": "x"}),
            400,
            "usage",
            "no_such_keyspace",
        ),
        ("/v1/ping", json!({"value": "x"}), 400, "usage", "bad_value"),
        (
            "/v1/cluster/join",
            json!({"peer": "x"}),
            400,
            "usage",
            "bad_peer",
        ),
        (
            "/v1/cluster/commit",
            json!({}),
            409,
            "refused",
            "nothing_planned",
        ),
        (
            "/v1/cluster/leave",
            json!({}),
            409,
            "refused",
            "only_member",
        ),
        (
            "/v1/cluster/leave",
            json!({"node": "x"}),
            409,
            "refused",
            "not_member",
        ),
        (
            "/v1/faults",
            json!({"drop": ["x"]}),
            409,
            "refused",
            "faults_disabled",
        ),
        (
            "/v1/cluster/members",
            json!({}),
            405,
            "usage",
            "wrong_method",
        ),
        ("/v1/nothing", json!({}), 404, "usage", "unknown_path"),
        ("/nothing", json!({}), 404, "usage", "unknown_path"),
    ] {
        let (got, document) = node.post(path, body).await;
        let error = &document["error"];
        assert_eq!(
            (got, &error["kind"]),
            (status, &json!(kind)),
            "{path}: {document}"
        );
        assert_eq!(error["reason"], reason, "{path}: {document}");
        assert!(error["message"].is_string() && error["replicas"].is_array());
    }
    let (status, document) = node.get("/v1/cluster/can-stop?node=x").await;
    assert_eq!(
        (status, &document["error"]["reason"]),
        (409, &json!("not_member"))
    );
    let (status, _) = node.get("/v1/cluster/can-stop?nod=x").await;
    assert_eq!(status, 400);
}

/// Lost without it: the token would guard some paths and not others, and faults would be told to a switch of nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_guards_all_but_health() {
    let node = served(Some("secret"), true).await;
    assert_eq!(node.get("/health/live").await.0, 200);
    assert_eq!(node.get("/health/cluster").await.0, 200);
    for path in ["/v1/status", "/v1/faults", "/v1/nothing"] {
        assert_eq!(node.get(path).await.0, 401, "{path}");
    }
    let token = Some("secret");
    assert_eq!(node.ask("GET", "/v1/status", None, token).await.0, 200);

    let put = || Some(json!({"key": "a", "value": "1", "timeout_ms": 200}));
    let full = Some(json!({"disk": "full"}));
    assert_eq!(node.ask("POST", "/v1/faults", full, token).await.0, 200);
    let (_, faults) = node.ask("GET", "/v1/faults", None, token).await;
    assert_eq!(faults["disk"], "full");
    let (status, refused) = node.ask("POST", "/v1/kv/put", put(), token).await;
    assert_eq!(status, 503, "{refused}");
    assert_eq!(node.ask("DELETE", "/v1/faults", None, token).await.0, 200);
    assert_eq!(node.ask("POST", "/v1/kv/put", put(), token).await.0, 200);
}

/// What `/metrics` tells, as Prometheus would read it.
async fn watched(node: &Served) -> super::metrics::strict::Samples {
    let (status, text) = node.get("/metrics").await;
    assert_eq!(status, 200);
    super::metrics::strict::read(text.as_str().unwrap()).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Lost without it: a scraper could not read what a node tells, figures would stand still, or a series a key would fill
/// the memory of whoever keeps them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_move_and_their_labels_are_bounded() {
    let node = served(None, false).await;
    let before = watched(&node).await;
    let put = node.post("/v1/kv/put", json!({"key": "a", "value": "1"}));
    assert_eq!(put.await.0, 200);
    for key in ["a", "absent", ""] {
        node.post("/v1/kv/get", json!({"key": key})).await;
    }
    let refused = node.post("/v1/kv/get", json!({"key": "a", "n": 9}));
    assert_ne!(refused.await.0, 200);
    node.post("/v1/ping", json!({"value": 1})).await;
    let after = watched(&node).await;
    let moved = |series: &str| after[series] - before[series];
    for (op, result, by) in [
        ("put", "ok", 1.0),
        ("get", "ok", 1.0),
        ("get", "notfound", 1.0),
        ("other", "ok", 1.0),
    ] {
        let series = format!("rkv_requests_total{{op=\"{op}\",result=\"{result}\"}}");
        assert_eq!(moved(&series), by, "{series}");
    }
    assert!(moved("rkv_requests_total{op=\"get\",result=\"usage\"}") >= 1.0);
    assert_eq!(after["rkv_partitions{health=\"ok\"}"], 16.0);
    assert_eq!(after["rkv_members{state=\"valid\"}"], 1.0);
    assert_eq!(after["rkv_ring_ownership_ratio{node=\"node1\"}"], 1.0);
    assert_eq!(moved("rkv_copies_entries"), 1.0);
    assert!(moved("rkv_storage_bytes{backend=\"\"}") > 0.0);

    for number in 0..1_000 {
        let key = format!("key-{number}");
        node.engine.get(
            node.engine.default_keyspace(),
            key.as_bytes(),
            &rkv_quorum::policy::GetOptions::default(),
            Box::new(drop),
        );
    }
    let later = watched(&node).await;
    let series = |samples: &super::metrics::strict::Samples| -> Vec<String> {
        samples.keys().cloned().collect()
    };
    assert_eq!(
        series(&before),
        series(&later),
        "a thousand keys made series"
    );
    assert!(later["rkv_request_duration_seconds_count{op=\"get\",result=\"ok\"}"] >= 500.0);
}

/// Lost without it: whoever reaches the port could read what the cluster does; or a load balancer, which has no token,
/// would take every node for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_need_the_token_and_health_does_not() {
    let node = served(Some("secret"), false).await;
    node.state.set_ready();
    assert_eq!(node.get("/metrics").await.0, 401);
    let with_token = node.ask("GET", "/metrics", None, Some("secret")).await;
    assert_eq!(with_token.0, 200);
    for path in ["live", "ready", "cluster"] {
        assert_eq!(node.get(&format!("/health/{path}")).await.0, 200, "{path}");
    }
}

/// Speaks as no client library does; returns what came until the connection ended, which it must.
async fn rude(
    node: &Served,
    said: &[u8],
    then: impl AsyncFnOnce(&mut tokio::net::TcpStream),
) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = node.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(said).await.unwrap();
    then(&mut stream).await;
    let mut text = Vec::new();
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(30),
        stream.read_to_end(&mut text),
    );
    // A reset is an end as well.
    let _ = ended.await.expect("the connection is ended");
    String::from_utf8_lossy(&text).into_owned()
}

/// Lost without it: a few hundred clients that say nothing, or never the whole, keep everybody else out for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_lose_their_places() {
    use tokio::io::AsyncWriteExt;
    let short = std::time::Duration::from_millis(300);
    let patience = Patience {
        headers: short,
        body: short,
        answer: short,
    };
    let node = served_with(None, false, patience).await;
    let nothing = async |_: &mut tokio::net::TcpStream| {};
    assert_eq!(rude(&node, b"", nothing).await, "");
    rude(
        &node,
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Endless: a",
        async |stream| {
            // byte by byte, until it is not heard any more
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(short / 20).await;
            }
        },
    )
    .await;
    let endless = vec![b'a'; 1 << 20];
    let refused = rude(&node, b"GET / HTTP/1.1\r\nX: ", async |stream| {
        let _ = stream.write_all(&endless).await;
    });
    assert!(!refused.await.contains("200 OK"));
    let announced = b"POST /v1/kv/get HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{";
    let told = rude(&node, announced, nothing).await;
    assert!(
        told.starts_with("HTTP/1.1 400") && told.contains("slow_body"),
        "{told}"
    );
    let idle = rude(
        &node,
        b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
        nothing,
    );
    assert!(idle.await.starts_with("HTTP/1.1 200"));
    assert_eq!(node.get("/health/live").await.0, 200);
}

/// Lost without it: clients that ask and never read keep their places, and what they asked for in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_lose_their_places() {
    use tokio::io::AsyncWriteExt;
    let patience = Patience {
        answer: std::time::Duration::from_millis(300),
        ..Patience::default()
    };
    let node = served_with(None, false, patience).await;
    let address = node.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let asking = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        // until nothing is taken any more because nothing is answered any more, and then until the end
        while stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .is_ok()
        {}
    });
    asking.await.expect("the connection is ended");
}
