//! This file answers: does a client get what Redis, or our own words, promise it?
//!
//! Over a loopback socket, with a real engine of one node: in memory, where answers are there at once, and on a disk,
//! where they come later and from another thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use rkv_kv::{Bounds, Engine, Keyspace, KvService, Surroundings};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::Defaults;
use rkv_resp::{Reply, ReplyLimits, ReplyParser};
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::{Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status};
use rkv_storage::{BackendKind, Durability, Faults, Store};
use rkv_vnode::{Beginning, Fault, Host, Service, Settings, World};
use rkv_wire::message::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{RedisConfig, Threads, serve};

mod ahead;
mod habits;
mod slow;

/// A world with nobody else in it.
struct Alone {
    started: Instant,
}

impl World for Alone {
    fn now_ms(&self) -> u64 {
        1 + self.started.elapsed().as_millis() as u64
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap().as_millis() as u64
    }

    fn send(&self, _: &NodeName, _: Message) {}
}

impl Surroundings for Alone {
    fn tell_keeper(&self, _: Event) {}
    fn send_cluster(&self, _: Target, _: ClusterMessage) {}
    fn publish(&self, _: Facts) {}
    fn adopted(&self, _: &Arc<Ring>) {}
    fn left(&self) {}
    fn warn(&self, _: String) {}
}

/// A cluster of one node, n1, with 8 partitions.
pub(crate) fn engine(store: Arc<dyn Store>, bounds: Bounds) -> Arc<Engine> {
    let world = Arc::new(Alone {
        started: Instant::now(),
    });
    let member = Member {
        incarnation: Incarnation(1),
        status: Status::Valid,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    let q = PartitionCount::new(8).unwrap();
    let ring = Ring::found(ClusterId(1), "test", q, 3, "n1".into(), member);
    let settings = Settings {
        boot: 257,
        max_drift_ms: 500,
        transfers: 2,
        bytes_per_s: 0,
        grace_ms: 500,
        delete_grace_ms: 86_400_000,
        void_after_ms: 12_000,
        anti_entropy_ms: 1_000,
        fault: Fault::None,
    };
    let services: Vec<Arc<dyn Service>> = vec![Arc::new(KvService)];
    let host = Host::open(
        "n1".into(),
        Arc::new(ring),
        services,
        store,
        world.clone(),
        settings,
        Beginning::Founded,
    )
    .unwrap();
    Engine::start(
        host,
        world,
        Arc::new(Clock::new(257, 500)),
        Drift::new(500),
        Keyspace::default_with(Defaults::default()),
        bounds,
        257,
    )
}

/// A server, and what ends with it.
struct Running {
    addr: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

async fn start(kind: BackendKind, config: RedisConfig, bounds: Bounds) -> Running {
    let here = Handle::current();
    start_on(vec![here], kind, config, bounds).await
}

/// The same, and what pipelines runs on other threads.
async fn start_on(
    pipelines: Vec<Handle>,
    kind: BackendKind,
    config: RedisConfig,
    bounds: Bounds,
) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let opened = rkv_storage::open(kind, folder.path()).unwrap();
    let interval = Duration::from_millis(20);
    let store = rkv_storage::start(
        opened.backend,
        Durability::Batch,
        interval,
        Faults::default(),
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let threads = Threads {
        calls: Handle::current(),
        pipelines,
    };
    let engine = engine(store, bounds);
    let served = tokio::spawn(serve(listener, engine, config, threads, stopped));
    Running {
        addr,
        stop,
        served,
        _folder: folder,
    }
}

async fn memory() -> Running {
    let config = RedisConfig::default();
    start(BackendKind::Memory, config, Bounds::default()).await
}

impl Running {
    async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.addr).await.unwrap(),
            buffer: BytesMut::new(),
            parser: ReplyParser::new(ReplyLimits::default()),
        }
    }
}

struct Client {
    stream: TcpStream,
    buffer: BytesMut,
    parser: ReplyParser,
}

impl Client {
    /// Sends lines, words separated by spaces, as one pipeline of inline requests.
    async fn send(&mut self, lines: &str) {
        let text: String = lines
            .lines()
            .map(|line| line.trim().to_owned() + "\r\n")
            .collect();
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.parser.next(&mut self.buffer).unwrap() {
                return Some(reply);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Sends a pipeline and returns its replies as text, one a line.
    async fn say(&mut self, lines: &str) -> Vec<String> {
        self.send(lines).await;
        let mut replies = Vec::new();
        for _ in lines.lines() {
            replies.push(shown(&self.reply().await.expect("a reply to each request")));
        }
        replies
    }
}

/// As a person reads it.
fn shown(reply: &Reply) -> String {
    let all = |items: &[Reply]| items.iter().map(shown).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Simple(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        Reply::Null => "nil".to_owned(),
        Reply::Array(items) | Reply::Set(items) => format!("[{}]", all(items)),
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply)| shown(key) + ":" + &shown(value);
            format!(
                "{{{}}}",
                pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
            )
        }
        Reply::Verbatim(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_is_answered_in_order_on_every_backend() {
    // Lost without it: the plainest promise, that commands take effect and are answered in the order in which they came.
    for kind in [BackendKind::Memory, BackendKind::Fjall, BackendKind::Sled] {
        for hello in ["HELLO 2", "HELLO 3"] {
            let running = start(kind, RedisConfig::default(), Bounds::default()).await;
            let mut client = running.client().await;
            client.say(hello).await;
            let lines = "SET a 1
                GET a
                SET a 2
                SET b 1
                GET a
                EXISTS a b c a
                DEL a c
                GET a
                SET a 3 PX 100000
                SET a 4 KEEPTTL
                GET a
                SET gone 1 PXAT 1
                GET gone
                PING";
            let expected = "+OK '1' +OK +OK '2' 3 1 nil +OK +OK '4' +OK nil +PONG";
            assert_eq!(
                client.say(lines).await.join(" "),
                expected,
                "{kind} {hello}"
            );
            // Many more than may be under way at once, each key written and read in turn.
            let (mut lines, mut expected) = (String::new(), Vec::new());
            for round in 0..300 {
                for key in 0..10 {
                    lines += &format!("SET k{key} {round}\nGET k{key}\n");
                    expected.extend(["+OK".to_owned(), format!("'{round}'")]);
                }
            }
            assert_eq!(client.say(&lines).await, expected, "{kind}");
            let keys: Vec<String> = (0..3_000).map(|key| format!("k{key}")).collect();
            let keys = keys.join(" ");
            let replies = client
                .say(&format!("EXISTS {keys}\nDEL {keys}\nEXISTS {keys}"))
                .await;
            assert_eq!(replies, ["10", "10", "0"], "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_deadlines_as_redis_has_them() {
    // Lost without it: clients' plainest calls beyond GET and SET. The replies are those of redis-server 7.0.15.
    let table = [
        ("MSET a 1 b 22 a 3", "+OK"),
        ("MGET a b c a", "['3' '22' nil '3']"),
        ("MGET c", "[nil]"),
        (
            "MSET a 1 b",
            "-ERR wrong number of arguments for 'mset' command",
        ),
        ("STRLEN b", "2"),
        ("STRLEN c", "0"),
        ("TYPE a", "+string"),
        ("TYPE c", "+none"),
        ("SET h hello", "+OK"),
        ("GETRANGE h 1 -2", "'ell'"),
        ("SUBSTR h -3 100", "'llo'"),
        ("GETRANGE c 0 -1", "''"),
        ("TOUCH a a c", "2"),
        ("TTL a", "-1"),
        ("PTTL c", "-2"),
        ("EXPIRETIME c", "-2"),
        ("EXPIRE c 10", "0"),
        ("EXPIRE a 10 XX", "0"),
        ("EXPIRE a 10 GT", "0"),
        ("EXPIREAT a 33177117420", "1"),
        ("EXPIRETIME a", "33177117420"),
        ("PEXPIRETIME a", "33177117420000"),
        ("EXPIRE a 100 NX", "0"),
        ("EXPIRE a 100 GT", "0"),
        ("PEXPIRE a 99600 LT", "1"),
        ("TTL a", "100"),
        ("EXPIRE a 50 XX LT", "1"),
        ("TTL a", "50"),
        ("PERSIST a", "1"),
        ("PERSIST a", "0"),
        ("PERSIST c", "0"),
        ("TTL a", "-1"),
        ("GETEX a EX 20", "'3'"),
        ("TTL a", "20"),
        ("SET a 4 KEEPTTL", "+OK"),
        ("TTL a", "20"),
        ("GETEX a", "'4'"),
        ("GETEX a PERSIST", "'4'"),
        ("TTL a", "-1"),
        (
            "GETEX a EX 0",
            "-ERR invalid expire time in 'getex' command",
        ),
        ("GETEX c EX 0", "nil"),
        ("EXPIRE a 20", "1"),
        ("SET a 5", "+OK"),
        ("TTL a", "-1"),
        ("SETEX a 20 6", "+OK"),
        ("TTL a", "20"),
        ("PSETEX a 20000 7", "+OK"),
        ("TTL a", "20"),
        ("EXPIRE a -1", "1"),
        ("GET a", "nil"),
        ("EXISTS a", "0"),
        ("TTL a", "-2"),
        ("EXPIRE a 10", "0"),
        ("PERSIST a", "0"),
        ("SET a 8", "+OK"),
        ("GET a", "'8'"),
        ("PEXPIREAT a 0", "1"),
        ("MGET a b", "[nil '22']"),
        ("UNLINK a b h", "2"),
        ("EXPIRE b x", "-ERR value is not an integer or out of range"),
        (
            "EXPIRE b 9223372036854775807",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "EXPIRE b 1 NX GT",
            "-ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "EXPIRE b 1 GT LT",
            "-ERR GT and LT options at the same time are not compatible",
        ),
        ("EXPIRE b 1 FOO", "-ERR Unsupported option FOO"),
    ];
    for kind in [BackendKind::Memory, BackendKind::Fjall] {
        for hello in ["HELLO 2", "HELLO 3"] {
            let running = start(kind, RedisConfig::default(), Bounds::default()).await;
            let mut client = running.client().await;
            client.say(hello).await;
            let lines = table.map(|(line, _)| line).join("\n");
            let replies = client.say(&lines).await;
            for ((line, expected), reply) in table.iter().zip(replies) {
                assert_eq!(reply, *expected, "{line} on {kind}, {hello}");
            }
        }
    }
}

#[tokio::test]
async fn many_keys_in_one_request() {
    // Lost without it: a large MGET holds its connection up for ever, or takes the node's memory.
    let running = memory().await;
    let mut client = running.client().await;
    let keys: Vec<String> = (0..3_000).map(|key| format!("k{key}")).collect();
    let pairs: Vec<String> = keys.iter().map(|key| format!("{key} v{key}")).collect();
    let lines = format!("MSET {}\nMGET {}\nPING", pairs.join(" "), keys.join(" "));
    let values: Vec<String> = keys.iter().map(|key| format!("'v{key}'")).collect();
    let expected = ["+OK", &format!("[{}]", values.join(" ")), "+PONG"];
    assert_eq!(client.say(&lines).await, expected);
    let value = "v".repeat(60_000);
    assert_eq!(client.say(&format!("SET big {value}")).await, ["+OK"]);
    let told =
        "-BUSY these values are more than this connection may hold: ask for fewer keys at a time";
    let lines = format!(
        "MGET{}\nMGET{}\nPING",
        " big".repeat(600),
        " big".repeat(500)
    );
    let replies = client.say(&lines).await;
    assert_eq!((&*replies[0], &*replies[2]), (told, "+PONG"));
    assert_eq!(replies[1].len(), 500 * (60_000 + 3) + 1);
    let long = "k".repeat(70_000);
    let mut out = BytesMut::new();
    rkv_resp::frame::write_request(
        &[b"MSET", b"a".as_slice(), b"1", long.as_bytes(), b"2"],
        &mut out,
    );
    client.stream.write_all(&out).await.unwrap();
    let reply = client.reply().await.as_ref().map(shown).unwrap_or_default();
    assert!(
        reply.starts_with("-ERR a key has") && reply.ends_with("(1 of 2 keys failed)"),
        "{reply}"
    );
    assert_eq!(
        client.say("GET a").await,
        ["'1'"],
        "each key is written by itself"
    );
}

#[tokio::test]
async fn commands_that_do_not_merge_are_refused_with_the_remedy() {
    // Lost without it: a client takes a refusal for a typing error, or cluster clients find in COMMAND what is not served.
    let running = memory().await;
    let mut client = running.client().await;
    let lines =
        "SETNX a 1\nGETDEL a\nINCR a\nMULTI\nEVAL x 0\nLPUSH a 1\nSUBSCRIBE a\nSCAN 0\nRENAME a b";
    for (line, reply) in lines.lines().zip(client.say(lines).await) {
        let name = line.split(' ').next().unwrap();
        assert!(reply.starts_with(&format!("-ERR {name} ")), "{reply}");
        assert!(reply.contains(": "), "the remedy: {reply}");
    }
    let info = client.say("COMMAND INFO setnx multi mget\nGET a").await;
    assert!(info[0].starts_with("[nil nil ['mget' -2 "), "{}", info[0]);
    assert_eq!(info[1], "nil");
}

#[tokio::test]
async fn own_commands_reply_as_promised() {
    // Lost without it: scripts read these replies by their shape.
    for hello in ["HELLO 2", "HELLO 3"] {
        let running = memory().await;
        let mut client = running.client().await;
        client.say(hello).await;
        let row = "['n1' 7 0 'ok'] ['n1' 7 1 'ok'] ['n1' 7 2 'ok']";
        let lines = "RKV.PUT a 1 N 3 W 3 CONTEXT x KEYSPACE default
            RKV.PUT a 1 W 4
            RKV.PUT a 1 W 0
            RKV.PUT a 1 KEYSPACE other
            RKV.PREFLIST a";
        assert_eq!(
            client.say(lines).await,
            [
                &format!("[{row}]"),
                "-ERR w must be from 1 to n (3), not 4",
                "-ERR w must be from 1 to n (3), not 0",
                "-ERR there is no keyspace 'other'; the keyspaces are: default",
                "[15495 7 ['n1' 0 'primary'] ['n1' 1 'primary'] ['n1' 2 'primary']]",
            ]
        );
        let got = client.say("RKV.GET a R 3").await.remove(0);
        let context = got
            .strip_prefix("[['1'] '")
            .and_then(|rest| rest.split_once('\''));
        let (context, rest) = context.expect("a value and its context");
        assert_eq!((context.len(), rest), (42, &*format!(" [{row}]]")), "{got}");
        let replicas = client.say("RKV.REPLICAS a").await.remove(0);
        let each = format!("['n1' 7 0 'primary' 'value' '{context}' '");
        assert!(replicas.starts_with(&format!("[{each}")), "{replicas}");
        let gone = client.say("RKV.DELETE a W 3\nRKV.GET a R 3").await;
        assert_eq!(gone[0], format!("[{row}]"));
        assert!(gone[1].starts_with("[[] '"), "{}", gone[1]);
        let replicas = client.say("RKV.REPLICAS a").await.remove(0);
        assert!(replicas.contains("'tombstone'"), "{replicas}");
        let missing = client.say("RKV.GET b\nRKV.REPLICAS b").await;
        assert!(missing[0].starts_with("[[] '' [["), "{}", missing[0]);
        assert!(missing[1].contains("'missing' '' ''"), "{}", missing[1]);
    }
}

#[tokio::test]
async fn keys_are_counted_and_named() {
    // Lost without it: tools that ask how much there is, and commands about all keys that overtake those before them.
    let running = memory().await;
    let mut client = running.client().await;
    let lines = "DBSIZE
        RANDOMKEY
        CLUSTER COUNTKEYSINSLOT 15891
        SET {t}a 1
        SET {t}b 1
        SET {t}c 1
        DEL {t}c
        CLUSTER COUNTKEYSINSLOT 15891
        CLUSTER GETKEYSINSLOT 15891 1
        CLUSTER GETKEYSINSLOT 15891 0
        CLUSTER COUNTKEYSINSLOT 1
        CLUSTER COUNTKEYSINSLOT 16384
        CLUSTER GETKEYSINSLOT 1 -1
        FLUSHALL NOW
        DBSIZE x";
    let replies = client.say(lines).await;
    let one = &replies[8];
    assert!(one == "['{t}a']" || one == "['{t}b']", "{one}");
    let expected = [
        "0",
        "nil",
        "0",
        "+OK",
        "+OK",
        "+OK",
        "1",
        "2",
        one,
        "[]",
        "0",
        "-ERR Invalid slot",
        "-ERR Invalid slot or number of keys",
        "-ERR syntax error",
        "-ERR wrong number of arguments for 'dbsize' command",
    ];
    assert_eq!(replies, expected);
    // Counts are kept for a moment.
    let patience = Instant::now() + Duration::from_secs(20);
    while client.say("DBSIZE").await != ["2"] {
        assert!(Instant::now() < patience, "two keys are not counted");
    }
    for _ in 0..20 {
        let key = client.say("RANDOMKEY").await.remove(0);
        assert!(key == "'{t}a'" || key == "'{t}b'", "{key}");
    }
    let info = client.say("INFO keyspace").await.remove(0);
    assert!(info.contains("db0:keys=2,"), "{info}");
}

#[tokio::test]
async fn options_that_need_agreement_are_refused() {
    // Lost without it: locks by SET NX that two clients hold at once.
    let running = memory().await;
    let replies = running
        .client()
        .await
        .say("SET a 1 NX\nSET a 1 XX\nSET a 1 GET\nGET a")
        .await;
    for (reply, what) in replies.iter().zip(["NX", "XX", "GET"]) {
        let expected = format!("-ERR SET {what} needs a consistent answer and keyspace 'default'");
        assert!(reply.starts_with(&expected), "{reply}");
    }
    assert_eq!(replies[3], "nil", "nothing was written");
}

#[tokio::test]
async fn nothing_is_answered_before_the_password() {
    // Lost without it: everybody who reaches the port reads and writes everything.
    let config = RedisConfig {
        password: Some("secret".to_owned()),
        users: BTreeMap::from([("ann".to_owned(), "hers".to_owned())]),
        ..RedisConfig::default()
    };
    let running = start(BackendKind::Memory, config, Bounds::default()).await;
    let mut client = running.client().await;
    let no = "-NOAUTH Authentication required.";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    let value = "x".repeat(20_000);
    let lines = format!(
        "GET a\nINFO\nRKV.PREFLIST a\nCLIENT ID\nAUTH wrong\nAUTH ann secret\nHELLO 3\nAUTH secret\nSET a {value}\nRESET\nGET a"
    );
    let replies = client.say(&lines).await;
    assert_eq!(replies[..6], [no, no, no, no, wrong, wrong]);
    assert!(
        replies[6].starts_with("-NOAUTH HELLO must be called"),
        "{}",
        replies[6]
    );
    assert_eq!(replies[7..], ["+OK", "+OK", "+RESET", no]);
    let hello = client
        .say("HELLO 3 AUTH ann hers SETNAME me")
        .await
        .remove(0);
    let expected = "{'server':'redis' 'version':'7.4.0' 'proto':3 'id':1 'mode':'cluster' 'role':'master' 'modules':[]}";
    assert_eq!(hello, expected);
    let about = client.say("CLIENT GETNAME\nCLIENT INFO").await;
    assert_eq!(about[0], "'me'");
    assert!(
        about[1].contains(" name=me ") && about[1].contains(" user=ann "),
        "{}",
        about[1]
    );
    // What a client that has proved nothing may send is little.
    let mut stranger = running.client().await;
    stranger
        .stream
        .write_all(b"*1\r\n$16385\r\n")
        .await
        .unwrap();
    let reply = stranger.reply().await.as_ref().map(shown);
    assert_eq!(
        reply.as_deref(),
        Some("-ERR Protocol error: invalid bulk length")
    );
    assert_eq!(stranger.reply().await, None, "and it ends");
}

#[tokio::test]
async fn a_session_is_what_its_client_made_it() {
    // Lost without it: client libraries that set up their connections on the first request would not get to a second.
    let config = RedisConfig {
        databases: vec!["default".to_owned(), "other".to_owned()],
        ..RedisConfig::default()
    };
    let running = start(BackendKind::Memory, config, Bounds::default()).await;
    let mut client = running.client().await;
    let lines = "SELECT 0
        SELECT 1
        SELECT 2
        SELECT x
        CLIENT ID
        CLIENT GETNAME
        CLIENT SETNAME me
        CLIENT SETINFO LIB-NAME lib
        CLIENT NO-EVICT on
        READONLY
        ECHO there
        PING there
        NOSUCH a b
        GET
        AUTH x
        HELLO 4
        CONFIG GET sav* nosuch
        CONFIG SET save x
        COMMAND COUNT
        CLIENT NOSUCH";
    let replies = client.say(lines).await;
    let nopass = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                  configuration is correct?";
    let set = "-ERR CONFIG SET failed (possibly related to argument 'save') - settings are read from rkv's configuration \
               when the node starts";
    let expected = [
        "+OK",
        "-ERR there is no keyspace 'other'; the keyspaces are: default",
        "-ERR DB index is out of range",
        "-ERR value is not an integer or out of range",
        "1",
        "nil",
        "+OK",
        "+OK",
        "+OK",
        "+OK",
        "'there'",
        "'there'",
        "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ",
        "-ERR wrong number of arguments for 'get' command",
        nopass,
        "-NOPROTO unsupported protocol version",
        "['save' '']",
        set,
    ];
    assert_eq!(replies[..expected.len()], expected);
    assert_eq!(
        replies[19],
        "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."
    );
    let info = client.say("INFO").await.remove(0);
    for line in [
        "redis_mode:cluster",
        "loading:0",
        "role:master",
        "cluster_enabled:1",
        "# Ring",
        "# Quorum",
    ] {
        assert!(info.lines().any(|has| has == line), "{line}: {info}");
    }
    let clients = client.say("INFO clients").await.remove(0);
    assert!(
        clients.starts_with("'# Clients\r\nconnected_clients:1\r\n"),
        "{clients}"
    );
}

#[tokio::test]
async fn a_connection_that_is_killed_ends() {
    // Lost without it: an operator who ends a client's connection would go on being asked by it.
    let running = memory().await;
    let mut me = running.client().await;
    let mut other = running.client().await;
    assert_eq!(me.say("CLIENT ID").await, ["1"]);
    assert_eq!(other.say("CLIENT ID").await, ["2"]);
    let lines = "CLIENT KILL ID 2 TYPE pubsub
        CLIENT KILL ID 99
        CLIENT KILL USER nobody
        CLIENT KILL 1.2.3.4:5
        CLIENT KILL TYPE normal";
    let expected = [
        "0",
        "0",
        "-ERR No such user 'nobody'",
        "-ERR No such client",
        "1",
    ];
    assert_eq!(me.say(lines).await, expected);
    assert_eq!(other.reply().await, None, "it is ended");
    let addr = me.stream.local_addr().unwrap();
    let mut third = running.client().await;
    let killed = third.say(&format!("CLIENT KILL {addr}")).await;
    assert_eq!(killed, ["+OK"]);
    assert_eq!(me.reply().await, None, "by its address");
    // Whoever ends itself is told so first.
    assert_eq!(third.say("CLIENT KILL SKIPME no").await, ["1"]);
    assert_eq!(third.reply().await, None);
}

#[tokio::test]
async fn slow_commands_are_logged_and_all_are_counted() {
    // Lost without it: nobody finds out which command takes the time, or the log shows passwords.
    let running = memory().await;
    let mut client = running.client().await;
    let lines = "CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3
        AUTH secret
        SET a 1
        GET a
        GET
        SLOWLOG LEN
        CONFIG SET slowlog-log-slower-than -1
        SLOWLOG GET -1";
    let replies = client.say(lines).await;
    assert_eq!(replies[0], "+OK");
    let log = &replies[7];
    assert!(!log.contains("secret"), "{log}");
    assert!(log.contains("['SLOWLOG' 'LEN']"), "{log}");
    let settings = client
        .say("CONFIG GET slowlog-*\nSLOWLOG RESET\nSLOWLOG LEN")
        .await;
    let expected = "['slowlog-log-slower-than' '-1' 'slowlog-max-len' '3']";
    assert_eq!(settings, [expected, "+OK", "0"]);
    let stats = client.say("INFO commandstats\nINFO errorstats").await;
    assert!(stats[0].contains("cmdstat_get:calls=1,"), "{}", stats[0]);
    assert!(stats[0].contains(",rejected_calls=1,"), "{}", stats[0]);
    assert!(stats[1].contains("errorstat_ERR:count=2"), "{}", stats[1]);
}

#[tokio::test]
async fn wait_tells_how_many_others_hold_the_last_write() {
    // Lost without it: WAIT 1 on a single node would promise a second copy, or never return.
    for kind in [BackendKind::Memory, BackendKind::Fjall] {
        let running = start(kind, RedisConfig::default(), Bounds::default()).await;
        let mut client = running.client().await;
        let lines = "WAIT 0 0
            SET a 1
            WAIT 0 0
            WAIT 1 20
            DEL a
            WAIT 0 100
            GET a";
        let expected = ["0", "+OK", "0", "0", "1", "0", "nil"];
        assert_eq!(client.say(lines).await, expected);
    }
}

#[tokio::test]
async fn a_key_and_the_ring_are_told() {
    // Lost without it: tools that look at one key, and clients that ask for the ring of a single node, would find nothing.
    let running = memory().await;
    let mut client = running.client().await;
    let lines = "SET a 12
        OBJECT ENCODING a
        OBJECT REFCOUNT a
        OBJECT IDLETIME a
        OBJECT ENCODING nosuch
        MEMORY USAGE nosuch
        CLUSTER KEYSLOT a
        CLUSTER MEET 127.0.0.1 1
        DEBUG SLEEP 1";
    let replies = client.say(lines).await;
    assert_eq!(
        replies[..7],
        ["+OK", "'int'", "1", "0", "nil", "nil", "15495"]
    );
    assert!(replies[7].contains("rkv cluster join"), "{}", replies[7]);
    assert!(replies[8].starts_with("-ERR DEBUG command not allowed"));
    let id = client.say("CLUSTER MYID").await.remove(0);
    let id = id.trim_matches('\'').to_owned();
    assert_eq!(id.len(), 40);
    let told = client
        .say(&format!(
            "CLUSTER SLOTS\nCLUSTER NODES\nCLUSTER INFO\nCLUSTER REPLICAS {id}\nCLUSTER REPLICAS x"
        ))
        .await;
    let port = running.addr.port();
    let first = format!("[[0 2047 ['127.0.0.1' {port} '{id}' []]] [2048 4095 ");
    assert!(told[0].starts_with(&first), "{}", told[0]);
    let line = format!("'{id} 127.0.0.1:{port}@0 myself,master - 0 0 1 connected 0-16383\n'");
    assert_eq!(told[1], line);
    assert!(told[2].contains("cluster_state:ok"), "{}", told[2]);
    assert_eq!(told[3..], ["[]", "-ERR Unknown node x"]);
}

#[tokio::test]
async fn replies_are_sent_in_the_manner_of_their_time() {
    // Lost without it: a reply in the protocol of a later HELLO, or one that CLIENT REPLY had taken away.
    let config = RedisConfig::default();
    let running = start(BackendKind::Fjall, config, Bounds::default()).await;
    let mut client = running.client().await;
    client
        .send("SET a 1\nGET nosuch\nHELLO 3\nGET nosuch\nCLIENT REPLY SKIP\nPING\nCLIENT REPLY OFF\nGET a\nCLIENT REPLY ON\nGET a\nQUIT\nPING")
        .await;
    let mut bytes = Vec::new();
    client.stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("+OK\r\n$-1\r\n%7\r\n"), "{text}");
    assert!(
        text.ends_with("*0\r\n_\r\n+OK\r\n$1\r\n1\r\n+OK\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn values_are_bounded_and_large_ones_pass() {
    // Lost without it: a value that is a little too large costs the connection, or one that is not is damaged.
    let bounds = Bounds {
        key_bytes: 100,
        value_bytes: 3 << 20,
        ..Bounds::default()
    };
    let running = start(BackendKind::Memory, RedisConfig::default(), bounds).await;
    let mut client = running.client().await;
    let set = async |client: &mut Client, bytes: usize| {
        let mut out = BytesMut::new();
        let value = vec![b'v'; bytes];
        rkv_resp::frame::write_request(&[b"SET", b"big".as_slice(), &value], &mut out);
        client.stream.write_all(&out).await.unwrap();
        client.reply().await.as_ref().map(shown).unwrap_or_default()
    };
    assert_eq!(set(&mut client, 3 << 20).await, "+OK");
    let refused = "-ERR a value has at most 3145728 bytes (limits.value_bytes), not 3145729";
    assert_eq!(set(&mut client, (3 << 20) + 1).await, refused);
    // Many at once, more than the connection may hold of replies.
    let replies = client.say(&["GET big"; 40].join("\n")).await;
    assert!(replies.iter().all(|reply| reply.len() == (3 << 20) + 2));
    let long = "k".repeat(101);
    let refused = "-ERR a key has from 1 to 100 bytes (limits.key_bytes), not 101";
    assert_eq!(
        client.say(&format!("GET {long}\nDEL {long}")).await,
        [refused, refused]
    );
    let over = set(&mut client, 6 << 20 | 1).await;
    assert_eq!(over, "-ERR Protocol error: invalid bulk length");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_only_itself() {
    // Lost without it: one stuck client takes the node's memory, or its other clients' time.
    let running = memory().await;
    let mut stuck = running.client().await;
    let value = "v".repeat(60_000);
    assert_eq!(stuck.say(&format!("SET a {value}")).await, ["+OK"]);
    let many = "GET a\r\n".repeat(1_000);
    let mut sent = 0;
    // Until the server reads no more.
    loop {
        let write = stuck.stream.write_all(many.as_bytes());
        if tokio::time::timeout(Duration::from_millis(500), write)
            .await
            .is_err()
        {
            break;
        }
        sent += 1;
        assert!(sent < 10_000, "the server takes requests without end");
    }
    let mut other = running.client().await;
    assert_eq!(other.say("PING").await, ["+PONG"]);
    let info = other.say("INFO stats").await.remove(0);
    let out = info
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    let out: usize = out.unwrap().parse().unwrap();
    assert!(
        out < 64 << 20,
        "{out} bytes were written to who does not read"
    );
}

#[tokio::test]
async fn connections_are_bounded() {
    // Lost without it: whoever opens connections takes the node down.
    let config = RedisConfig {
        connections: 1,
        ..RedisConfig::default()
    };
    let running = start(BackendKind::Memory, config, Bounds::default()).await;
    let mut first = running.client().await;
    assert_eq!(first.say("PING").await, ["+PONG"]);
    let mut second = running.client().await;
    let told = second.reply().await.as_ref().map(shown);
    assert_eq!(told.as_deref(), Some("-ERR max number of clients reached"));
    assert_eq!(second.reply().await, None);
    assert_eq!(first.say("QUIT").await, ["+OK"]);
    assert_eq!(first.reply().await, None);
    // Its place is free once its end was seen.
    loop {
        let mut third = running.client().await;
        third.send("PING").await;
        if third.reply().await == Some(Reply::PONG) {
            break;
        }
    }
}

#[tokio::test]
async fn what_was_sent_before_the_end_is_answered() {
    // Lost without it: `printf ... | nc` loses its replies, and a stop of the node those of requests under way.
    let running = start(
        BackendKind::Fjall,
        RedisConfig::default(),
        Bounds::default(),
    )
    .await;
    let mut half = running.client().await;
    half.send(&["SET a 1", "GET a"].join("\n").clone()).await;
    half.stream.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    half.stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"+OK\r\n$1\r\n1\r\n");

    let mut idle = running.client().await;
    assert_eq!(idle.say("PING").await, ["+PONG"]);
    running.stop.send(true).unwrap();
    assert_eq!(idle.reply().await, None, "an idle connection is closed");
    running.served.await.unwrap();
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn any_bytes_end_at_most_their_own_connection() {
    // Lost without it: a scanner that says anything takes the listener down.
    let running = memory().await;
    let mut seed = 1u64;
    for length in [1, 7, 100, 5_000] {
        let mut stranger = running.client().await;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            b"*$\r\n0123GETx\xff\0"[(seed >> 40) as usize % 13]
        })
        .take(length)
        .collect();
        // The server may end the connection before it has read all.
        let _ = stranger.stream.write_all(&bytes).await;
        let _ = stranger.stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = stranger.stream.read_to_end(&mut rest).await;
    }
    assert_eq!(running.client().await.say("PING").await, ["+PONG"]);
}
