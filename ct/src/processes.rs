//! This file answers: how do suites run real nodes?
//!
//! The binary is `RKV_BIN`, else it is built once. Every node has free ports and a temporary folder, and is ended when its
//! cluster is dropped. Tests wait for conditions, never for a time. With `RKV_CT_KEEP` set, folders and logs stay.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up: generous, machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a node may take to answer what it answers at once.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// The binary under test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("RKV_BIN") {
            return given.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--profile", "test", "--package", "rkv-node"])
            .args(["--bin", "rkv", "--message-format", "json"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "rkv does not build");
        let text = String::from_utf8_lossy(&output.stdout);
        let executable = text.lines().rev().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            message["executable"].as_str().map(PathBuf::from)
        });
        executable.expect("cargo names what it built")
    })
}

/// Waits until `holds`; says what it waited for when it gives up.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds() {
        ensure!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

/// One node.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its Redis port.
    pub redis: u16,
    /// Its peer port.
    pub peer: u16,
    /// Its HTTP port.
    pub http: u16,
    /// `cluster.secret`, from its next start on.
    pub secret: Option<String>,
    shape: Shape,
    data: PathBuf,
    child: Option<Child>,
}

/// What all nodes of a cluster have alike.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// `storage.backend`.
    pub backend: String,
    /// `storage.durability`.
    pub durability: String,
    /// Configuration in the environment, as secrets are given.
    pub environment: Vec<(String, String)>,
    /// Whether they can be made to fail on purpose.
    pub faults: bool,
}

/// Some nodes, each alone until it joins.
pub struct Processes {
    /// The nodes.
    pub nodes: Vec<Node>,
    shape: Shape,
    folder: TempDir,
}

impl Processes {
    /// Starts `count` single nodes.
    pub fn start(count: usize, backend: &str, durability: &str) -> Result<Processes> {
        Processes::start_with(count, backend, durability, &[])
    }

    /// The same with configuration in the environment, as secrets are given.
    pub fn start_with(
        count: usize,
        backend: &str,
        durability: &str,
        environment: &[(&str, &str)],
    ) -> Result<Processes> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let shape = Shape {
            backend: backend.to_owned(),
            durability: durability.to_owned(),
            environment: environment.collect(),
            faults: false,
        };
        Processes::start_shaped(count, shape)
    }

    /// The same, all of one shape.
    pub fn start_shaped(count: usize, shape: Shape) -> Result<Processes> {
        let mut folder = tempfile::tempdir()?;
        if std::env::var_os("RKV_CT_KEEP").is_some() {
            folder.disable_cleanup(true);
            eprintln!("folders and logs stay in {}", folder.path().display());
        }
        let mut processes = Processes {
            nodes: Vec::new(),
            shape,
            folder,
        };
        for at in 0..count {
            let node = processes.another(&format!("node{}", at + 1))?;
            processes.nodes.push(node);
        }
        Ok(processes)
    }

    /// Starts one more single node, which the caller keeps.
    pub fn another(&self, name: &str) -> Result<Node> {
        let [redis, peer, http] = free_ports()?;
        let mut node = Node {
            data: self.folder.path().join(name),
            name: name.to_owned(),
            redis,
            peer,
            http,
            secret: None,
            shape: self.shape.clone(),
            child: None,
        };
        node.start()?;
        Ok(node)
    }

    /// Joins all to the first, plans, commits and waits until that is done.
    pub fn join(&self) -> Result<()> {
        let first = format!("127.0.0.1:{}", self.nodes[0].peer);
        for node in &self.nodes[1..] {
            node.cli(&["cluster", "join", &first])?;
        }
        let plan = self.nodes[0].cli(&["cluster", "plan"])?;
        let id = plan["plan"].as_str().context("the plan has an id")?;
        self.nodes[0].cli(&["cluster", "commit", "--plan", id])?;
        self.settle()
    }

    /// Waits until everything is settled.
    pub fn settle(&self) -> Result<()> {
        let wait = ["cluster", "wait", "--timeout", "60"];
        self.nodes[0].cli(&wait).map(drop)
    }
}

impl Node {
    /// Starts it, and waits until it is ready.
    pub fn start(&mut self) -> Result<()> {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/ct.toml");
        let address = |port: u16| format!("127.0.0.1:{port}");
        let sets = [
            format!("node.name={}", self.name),
            format!("node.data_dir={}", self.data.display()),
            format!("listen.redis={}", address(self.redis)),
            format!("listen.peer={}", address(self.peer)),
            format!("listen.http={}", address(self.http)),
            format!("storage.backend={}", self.shape.backend),
            format!("storage.durability={}", self.shape.durability),
        ];
        let mut command = Command::new(binary());
        command.args(["start", "--config", config]);
        if self.shape.faults {
            command.arg("--faults");
        }
        let environment = self.shape.environment.iter();
        command.envs(environment.map(|(name, value)| (name, value)));
        for set in sets {
            command.args(["--set", &set]);
        }
        if let Some(secret) = &self.secret {
            command.env("RKV_CLUSTER__SECRET", secret);
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        self.child = Some(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if !line.starts_with("ready ") {
            let log = std::fs::read_to_string(self.log())?;
            let last = log.lines().last().unwrap_or_default();
            bail!("{} said {line:?} and logged at last: {last}", self.name);
        }
        Ok(())
    }

    /// Memory that it has in use.
    pub fn resident_bytes(&self) -> Result<u64> {
        let child = self.child.as_ref().context("it runs")?;
        resident_bytes(child.id())
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where its log is.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Throws its folder away; it is dead.
    pub fn wipe(&self) -> Result<()> {
        ensure!(self.child.is_none(), "{} runs", self.name);
        Ok(std::fs::remove_dir_all(&self.data)?)
    }

    /// Replaces its set of faults (`POST /v1/faults`).
    pub fn set_faults(&self, set: &Value) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/v1/faults", self.http);
        let agent = ureq::Agent::config_builder().timeout_global(Some(ASKED_WITHIN));
        let agent: ureq::Agent = agent.build().into();
        agent.post(&url).send_json(set)?;
        Ok(())
    }

    /// What it tells Prometheus.
    pub fn metrics(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.http);
        let agent = ureq::Agent::config_builder().timeout_global(Some(ASKED_WITHIN));
        let agent: ureq::Agent = agent.build().into();
        Ok(agent.get(&url).call()?.body_mut().read_to_string()?)
    }

    /// SIGSTOP: it stands still, and its kernel goes on taking bytes for it.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("it runs")?;
        Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let mut child = self.child.take().context("it runs")?;
        let mut ended = None;
        eventually("an orderly stop", || {
            ended = child.try_wait().ok().flatten();
            ended.is_some()
        })?;
        ended.context("it ended")
    }

    /// The command line with `--json`: its document, or an error with what it said.
    pub fn cli(&self, args: &[&str]) -> Result<Value> {
        let (status, document) = self.cli_raw(args)?;
        ensure!(
            status == Some(0),
            "rkv {args:?} ended with {status:?}: {document}"
        );
        Ok(document)
    }

    /// The same with its exit code, whatever that is.
    pub fn cli_raw(&self, args: &[&str]) -> Result<(Option<i32>, Value)> {
        self.asked().cli_raw(args)
    }

    /// Where it is asked, whatever becomes of it meanwhile.
    pub fn asked(&self) -> Asked {
        Asked { http: self.http }
    }

    /// A connection to its Redis listener.
    pub fn redis(&self) -> Result<Redis> {
        Redis::connect(self.redis)
    }
}

/// Where a node is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    http: u16,
}

impl Asked {
    /// As [`Node::cli_raw`].
    pub fn cli_raw(self, args: &[&str]) -> Result<(Option<i32>, Value)> {
        let url = format!("http://127.0.0.1:{}", self.http);
        let output = Command::new(binary())
            .args(["--node", &url, "--json"])
            .args(args)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&text)
            .with_context(|| format!("rkv {args:?} printed {text:?}"))?;
        Ok((output.status.code(), document))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Memory that a process has in use.
pub(crate) fn resident_bytes(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("VmRSS in kB")?.trim().parse()?;
    Ok(kib * 1024)
}

/// Three ports that nobody has, of which the second is free for UDP too. Below those that systems draw for outgoing
/// connections. Processes that run side by side look far apart: a port whose node is down for a while seems free.
pub(crate) fn free_ports() -> Result<[u16; 3]> {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let first = (std::process::id() % 100) as u16 * 200;
    let mut found = Vec::new();
    for _ in 0..4_000 {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 10_000 + (first + step % 20_000) % 20_000;
        let free = TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            found.push(port);
        }
        if let [redis, peer, http] = found[..] {
            return Ok([redis, peer, http]);
        }
    }
    bail!("no free ports")
}

/// What a Redis server answers, as far as the suites look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Simple(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Integer(i64),
    /// A bulk string, or nil.
    Bulk(Option<Vec<u8>>),
    /// An array.
    Array(Vec<Reply>),
}

impl Reply {
    /// The text in it.
    pub fn text(&self) -> String {
        match self {
            Reply::Simple(text) | Reply::Error(text) => text.clone(),
            Reply::Integer(number) => number.to_string(),
            Reply::Bulk(bytes) => {
                String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned()
            }
            Reply::Array(_) => String::new(),
        }
    }
}

/// A blocking Redis connection.
pub struct Redis {
    reader: BufReader<TcpStream>,
}

impl Redis {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Result<Redis> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Redis {
            reader: BufReader::new(stream),
        })
    }

    /// Connects to a port of this machine, and waits for nothing longer than `patience`.
    pub fn connect_within(port: u16, patience: Duration) -> Result<Redis> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Redis {
            reader: BufReader::new(stream),
        })
    }

    /// Sends one command and reads its reply.
    pub fn call(&mut self, args: &[&str]) -> Result<Reply> {
        self.send(args)?;
        self.reply()
    }

    /// Sends many commands at once and reads their replies.
    pub fn pipeline(&mut self, commands: &[Vec<String>]) -> Result<Vec<Reply>> {
        for command in commands {
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            self.send(&args)?;
        }
        commands.iter().map(|_| self.reply()).collect()
    }

    fn send(&mut self, args: &[&str]) -> Result<()> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
        }
        Ok(self.reader.get_mut().write_all(&request)?)
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        ensure!(self.reader.read_line(&mut line)? > 0, "the node closed");
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse()?),
            "$" if rest == "-1" => Reply::Bulk(None),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.reader.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(Some(bytes))
            }
            "*" => {
                let count: usize = rest.parse()?;
                let items = (0..count).map(|_| self.reply());
                Reply::Array(items.collect::<Result<_>>()?)
            }
            _ => bail!("not a reply: {line}"),
        })
    }
}

/// SETs `keys`, 200 at a time, and asserts that each was acknowledged.
pub fn set_all(redis: &mut Redis, keys: impl Iterator<Item = (String, String)>) -> Result<()> {
    let commands: Vec<Vec<String>> = keys
        .map(|(key, value)| vec!["SET".to_owned(), key, value])
        .collect();
    for chunk in commands.chunks(200) {
        for (command, reply) in chunk.iter().zip(redis.pipeline(chunk)?) {
            ensure!(
                reply == Reply::Simple("OK".to_owned()),
                "{command:?}: {reply:?}"
            );
        }
    }
    Ok(())
}

/// GETs `keys`, 200 at a time, and asserts that each has its value.
pub fn expect_all(redis: &mut Redis, keys: impl Iterator<Item = (String, String)>) -> Result<()> {
    let all: Vec<(String, String)> = keys.collect();
    for chunk in all.chunks(200) {
        let commands: Vec<Vec<String>> = chunk
            .iter()
            .map(|(key, _)| vec!["GET".to_owned(), key.clone()])
            .collect();
        for ((key, value), reply) in chunk.iter().zip(redis.pipeline(&commands)?) {
            let expected = Reply::Bulk(Some(value.clone().into_bytes()));
            ensure!(reply == expected, "{key} should be {value}, got {reply:?}");
        }
    }
    Ok(())
}

/// Asserts that all replicas of `key` hold the same value (`RKV.REPLICAS`).
pub fn expect_equal_copies(redis: &mut Redis, key: &str) -> Result<()> {
    let Reply::Array(rows) = redis.call(&["RKV.REPLICAS", key])? else {
        bail!("RKV.REPLICAS {key} answered no array");
    };
    let mut seen = Vec::new();
    for row in rows {
        let Reply::Array(row) = row else {
            bail!("a row is an array");
        };
        // node, partition, replica, role, state, version, value-digest
        seen.push((row[4].text(), row[5].text(), row[6].text()));
    }
    ensure!(seen.len() == 3, "{key} has {} replicas", seen.len());
    ensure!(seen.iter().all(|s| *s == seen[0]), "{key}: {seen:?}");
    Ok(())
}
