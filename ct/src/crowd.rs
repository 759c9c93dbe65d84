//! This file answers: what does a node hold for each of many clients?
//!
//! Real sockets to a real process; what it holds is what the system says that it has in use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::processes::{Node, PATIENCE, Processes};

/// How many clients, and what they do.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// Connected, and idle.
    pub idle: usize,
    /// Besides, connected and busy.
    pub busy: usize,
    /// For so long.
    pub busy_for: Duration,
}

/// Memory of the node, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Before anybody came.
    pub alone: u64,
    /// With the idle ones connected, who have said nothing.
    pub silent: u64,
    /// After each of them has written and read one key.
    pub used: u64,
    /// The most while the busy ones were busy.
    pub busy: u64,
    /// Requests of the busy ones.
    pub requests: u64,
}

/// Requests that a busy client has under way at once: half of them SET, half of them GET, of 100 bytes.
pub const PIPELINE: usize = 16;
/// Threads that drive the busy ones.
const DRIVERS: usize = 4;

/// Takes as many sockets as the system grants; says how many that is.
pub fn raise_open_files() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

impl Crowd {
    /// Comes to a node of its own, on memory.
    pub fn come(&self) -> Result<Held> {
        let all = self.idle + self.busy;
        let granted = raise_open_files()?;
        ensure!(
            granted > all as u64 + 500,
            "{all} clients need more than the {granted} sockets that a process may have here (ulimit -Hn)"
        );
        let most = (all + 10).to_string();
        let environment = [("RKV_LIMITS__CONNECTIONS", most.as_str())];
        let nodes = Processes::start_with(1, "memory", "os", &environment)?;
        let node = &nodes.nodes[0];
        drop(client(node)?);
        let alone = node.resident_bytes()?;
        let mut idle = (0..self.idle)
            .map(|_| client(node))
            .collect::<Result<Vec<_>>>()?;
        self.connected(node, self.idle)?;
        let silent = node.resident_bytes()?;
        for (number, client) in idle.iter_mut().enumerate() {
            let key = format!("idle-{}", number % 1_000);
            let asked = format!("SET {key} {}\r\nGET {key}\r\n", "v".repeat(100));
            client.write_all(asked.as_bytes())?;
            expect(client, 5 + 6 + 102)?;
        }
        let used = node.resident_bytes()?;
        let (busy, requests) = self.be_busy(node)?;
        self.connected(node, self.idle)?;
        Ok(Held {
            alone,
            silent,
            used,
            busy,
            requests,
        })
    }

    /// Waits until the node counts so many clients besides the one that asks.
    fn connected(&self, node: &Node, count: usize) -> Result<()> {
        let mut asking = node.redis()?;
        crate::processes::eventually("all are connected", || {
            let info = asking.call(&["INFO", "clients"]).map(|reply| reply.text());
            let wanted = format!("connected_clients:{}\r", count + 1);
            info.is_ok_and(|info| info.contains(&wanted))
        })
    }

    fn be_busy(&self, node: &Node) -> Result<(u64, u64)> {
        let begun = Instant::now();
        let until = begun + self.busy_for;
        std::thread::scope(|scope| {
            let drivers: Vec<_> = (0..DRIVERS)
                .map(|driver| {
                    let count = self.busy / DRIVERS + usize::from(driver < self.busy % DRIVERS);
                    scope.spawn(move || drive(node, driver, count, until))
                })
                .collect();
            let mut most = 0;
            while drivers.iter().any(|driver| !driver.is_finished()) {
                most = most.max(node.resident_bytes()?);
                std::thread::park_timeout(Duration::from_millis(50));
            }
            let mut requests = 0;
            for driver in drivers {
                requests += driver.join().expect("a driver does not panic")?;
            }
            Ok((most, requests))
        })
    }
}

fn client(node: &Node) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", node.redis)).context("one more client")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// All of its clients ask, and then all of them hear, until it is over; counts requests.
fn drive(node: &Node, driver: usize, count: usize, until: Instant) -> Result<u64> {
    let clients = (0..count).map(|_| client(node));
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let value = "v".repeat(100);
    let asked = |at: usize| -> String {
        let key = format!("busy-{driver}-{at}");
        let pair = format!("SET {key} {value}\r\nGET {key}\r\n");
        pair.repeat(PIPELINE / 2)
    };
    let asked: Vec<String> = (0..count).map(asked).collect();
    let mut requests = 0;
    while Instant::now() < until {
        for (client, asked) in clients.iter_mut().zip(&asked) {
            client.write_all(asked.as_bytes())?;
        }
        for client in &mut clients {
            expect(client, PIPELINE / 2 * (5 + 6 + 102))?;
            requests += PIPELINE as u64;
        }
    }
    Ok(requests)
}

/// Replies of so many bytes: each `+OK` and the value.
fn expect(client: &mut TcpStream, bytes: usize) -> Result<()> {
    let mut replies = vec![0; bytes];
    client.read_exact(&mut replies)?;
    ensure!(replies.starts_with(b"+OK\r\n$100\r\n"), "another reply");
    Ok(())
}
