//! This file answers: how are the demo's three nodes run, and seen to their end whatever happens?
//!
//! **Invariant:** no node outlives the demo. Who leaves normally or by a panic drops [`Nodes`]; a signal is caught by
//! [`Nodes::end_on_signal`].

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use rkv_storage::BackendKind;

use super::resp::Redis;
use crate::cli::api::Node;
use crate::cli::failure::Failure;

/// How many nodes the demo has.
pub(super) const COUNT: usize = 3;

/// How long a node may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long a node may take to stop in an orderly way.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How often a node is asked whether it is ready or gone.
const POLL: Duration = Duration::from_millis(20);

/// Below the range from which systems draw the ports of outgoing connections, so that nobody takes a node's port while
/// it is down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Three nodes on this machine, in a folder of their own.
pub(super) struct Nodes {
    nodes: Vec<Place>,
    running: Running,
}

type Running = Arc<Mutex<[Option<Child>; COUNT]>>;

/// Where one node is found.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its name.
    pub(super) name: String,
    /// Its Redis listener.
    pub(super) redis: String,
    /// Its peer listener.
    pub(super) peer: String,
    http: String,
    config: PathBuf,
    log: PathBuf,
}

impl Nodes {
    /// Writes the configurations of three nodes into `dir`; nothing runs yet.
    pub(super) fn lay_out(dir: &Path, backend: BackendKind) -> Result<Nodes, Failure> {
        let ports = free_ports(3 * COUNT)?;
        let nodes = ports.chunks(3).enumerate().map(|(i, ports)| {
            let name = format!("node{}", i + 1);
            let place = Place {
                redis: format!("127.0.0.1:{}", ports[0]),
                peer: format!("127.0.0.1:{}", ports[1]),
                http: format!("127.0.0.1:{}", ports[2]),
                config: dir.join(format!("{name}.toml")),
                log: dir.join(format!("{name}.log")),
                name,
            };
            let text = place.configuration(&dir.join(&place.name), backend);
            fs::write(&place.config, text).map_err(|why| cannot("write", &place.config, &why))?;
            Ok(place)
        });
        Ok(Nodes {
            nodes: nodes.collect::<Result<_, Failure>>()?,
            running: Arc::default(),
        })
    }

    /// Where node `i` is found.
    pub(super) fn place(&self, i: usize) -> &Place {
        &self.nodes[i]
    }

    /// Node `i`, to be asked over HTTP.
    pub(super) fn api(&self, i: usize) -> Node {
        Node::at(&self.nodes[i].http, None)
    }

    /// Node `i`, to be asked as Redis.
    pub(super) fn redis(&self, i: usize) -> Result<Redis, Failure> {
        let place = &self.nodes[i];
        Redis::connect(&place.redis).map_err(|why| {
            Failure::internal(format!(
                "cannot connect to {} at {}: {why}",
                place.name, place.redis
            ))
        })
    }

    /// Starts node `i` and waits until it is ready; how long that took.
    pub(super) fn start(&self, i: usize) -> Result<Duration, Failure> {
        let (place, begun) = (&self.nodes[i], Instant::now());
        self.running.lock()[i] = Some(place.spawn()?);
        let api = self.api(i);
        loop {
            if api.get("/health/ready", &[]).is_ok() {
                return Ok(begun.elapsed());
            }
            let gone = match &mut self.running.lock()[i] {
                Some(child) => child.try_wait().ok().flatten(),
                None => None,
            };
            if let Some(status) = gone {
                return Err(place.failed(&format!("ended at its start ({status})")));
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(place.failed(&format!("was not ready within {READY_WITHIN:?}")));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills node `i` with SIGKILL.
    pub(super) fn kill(&self, i: usize) -> Result<(), Failure> {
        match self.running.lock()[i].take() {
            Some(child) => {
                end(child).map_err(|why| Failure::internal(format!("cannot kill a node: {why}")))
            }
            None => Ok(()),
        }
    }

    /// Stops node `i` with SIGTERM; how it ended.
    pub(super) fn stop(&self, i: usize) -> Result<ExitStatus, Failure> {
        let place = &self.nodes[i];
        let begun = Instant::now();
        if let Some(child) = &self.running.lock()[i] {
            let pid = i32::try_from(child.id())
                .map_err(|_| Failure::internal("a process id beyond i32"))?;
            kill(Pid::from_raw(pid), Signal::SIGTERM)
                .map_err(|why| Failure::internal(why.to_string()))?;
        }
        loop {
            if let Some(child) = &mut self.running.lock()[i]
                && let Some(status) = child
                    .try_wait()
                    .map_err(|why| Failure::internal(why.to_string()))?
            {
                return Ok(status);
            }
            if begun.elapsed() > STOP_WITHIN {
                return Err(place.failed(&format!(
                    "has not stopped within {STOP_WITHIN:?} of SIGTERM"
                )));
            }
            std::thread::sleep(POLL);
        }
    }

    /// From now on a signal that ends the demo ends the nodes first; `dir` goes too unless it is to be kept.
    pub(super) fn end_on_signal(&self, dir: Option<PathBuf>) -> Result<(), Failure> {
        let running = self.running.clone();
        let failed =
            |why: std::io::Error| Failure::internal(format!("cannot listen for signals: {why}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let Ok(code) = runtime.block_on(ending_signal()) else {
                    return;
                };
                // never unlocked again: nobody starts another node
                let mut running = running.lock();
                running
                    .iter_mut()
                    .filter_map(Option::take)
                    .for_each(|child| drop(end(child)));
                if let Some(dir) = dir {
                    let _ = fs::remove_dir_all(dir);
                }
                std::process::exit(code);
            })
            .map(drop)
            .map_err(failed)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.running.lock().iter_mut().filter_map(Option::take) {
            let _ = end(child);
        }
    }
}

/// What the process exits with after the first signal that is to end it.
async fn ending_signal() -> std::io::Result<i32> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    })
}

fn end(mut child: Child) -> std::io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

impl Place {
    fn configuration(&self, data: &Path, backend: BackendKind) -> String {
        let Place {
            name,
            redis,
            peer,
            http,
            ..
        } = self;
        // a path as a TOML string: JSON's escapes are a part of TOML's
        let data = serde_json::Value::from(data.to_string_lossy());
        format!(
            "[node]\nname = \"{name}\"\ndata_dir = {data}\n\n[ring]\npartitions = 16\n\n[listen]\nredis = \"{redis}\"\n\
             peer = \"{peer}\"\nhttp = \"{http}\"\n\n[storage]\nbackend = \"{backend}\"\n\n[transfers]\ngrace_s = 1\n"
        )
    }

    fn spawn(&self) -> Result<Child, Failure> {
        let program = std::env::current_exe().map_err(|why| {
            Failure::internal(format!("cannot find this program's own file: {why}"))
        })?;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|why| cannot("write", &self.log, &why))?;
        let mut command = Command::new(program);
        command.arg("start").arg("--config").arg(&self.config);
        // the configuration of who runs the demo is none of its nodes'
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RKV_") {
                command.env_remove(name);
            }
        }
        let stdout = log
            .try_clone()
            .map_err(|why| cannot("write", &self.log, &why))?;
        command.stdin(Stdio::null()).stdout(stdout).stderr(log);
        command
            .spawn()
            .map_err(|why| Failure::internal(format!("cannot start {}: {why}", self.name)))
    }

    /// The last lines of its log say why.
    fn failed(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n  ");
        Failure::internal(format!(
            "{} {what}; the end of {}:\n  {tail}",
            self.name,
            self.log.display()
        ))
    }
}

fn cannot(what: &str, path: &Path, why: &std::io::Error) -> Failure {
    Failure::internal(format!("cannot {what} {}: {why}", path.display()))
}

/// Ports of this machine's loopback that nobody uses, TCP and UDP.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let mut random = [0; 2];
    getrandom::fill(&mut random)
        .map_err(|why| Failure::internal(format!("no randomness: {why}")))?;
    let first = usize::from(u16::from_le_bytes(random)) % PORTS.len();
    // two demos at once begin at different places
    let around = PORTS.skip(first).chain(PORTS.take(first));
    let ports: Vec<u16> = around.filter(|port| is_free(*port)).take(count).collect();
    if ports.len() == count {
        Ok(ports)
    } else {
        Err(Failure::internal("this machine has no free ports"))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}
