//! This file answers: where does a real redis-server come from?

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::connection::{Connection, Protocol};
use crate::processes::{eventually, free_ports, resident_bytes};

/// A redis-server of this machine, ended when dropped.
pub struct RedisServer {
    /// Where it listens.
    pub port: u16,
    child: Child,
    _folder: TempDir,
}

impl RedisServer {
    /// Whether one is installed.
    pub fn is_installed() -> bool {
        let version = Command::new("redis-server").arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    }

    /// Starts one on a free port, in a temporary folder, alone or in cluster mode with all slots.
    pub fn start(is_cluster: bool, password: Option<&str>) -> Result<RedisServer> {
        let [bus, ..] = free_ports()?;
        let bus = bus.to_string();
        let mut options = Vec::new();
        if is_cluster {
            options.extend(["--cluster-enabled", "yes", "--cluster-port", &bus]);
        }
        if let Some(password) = password {
            options.extend(["--requirepass", password]);
        }
        let server = RedisServer::start_with(&options)?;
        if is_cluster {
            server.takes_all_slots()?;
        }
        Ok(server)
    }

    /// Starts one with options of its command line besides port and folder. It keeps nothing on disk unless they say so.
    pub fn start_with(options: &[&str]) -> Result<RedisServer> {
        let folder = tempfile::tempdir()?;
        let [port, ..] = free_ports()?;
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path())
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = RedisServer {
            port,
            child,
            _folder: folder,
        };
        eventually("redis-server listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        Ok(server)
    }

    fn takes_all_slots(&self) -> Result<()> {
        let mut connection = Connection::open(self.port, Protocol::Resp2, None)?;
        let reply = connection.say(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")?;
        ensure!(reply == b"+OK\r\n", "redis-server takes no slots");
        eventually("redis-server's cluster is well", || {
            let info = connection.say(b"CLUSTER INFO\r\n").unwrap_or_default();
            String::from_utf8_lossy(&info).contains("cluster_state:ok")
        })
    }

    /// Memory that it has in use.
    pub fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.child.id())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
