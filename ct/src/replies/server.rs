//! This file answers: where does a real redis-server come from?

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::connection::{Connection, Protocol};
use crate::processes::{eventually, free_ports};

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
        let folder = tempfile::tempdir()?;
        let [port, bus, _] = free_ports()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path());
        if is_cluster {
            command.args(["--cluster-enabled", "yes"]);
            command.args(["--cluster-port", &bus.to_string()]);
        }
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        let child = command
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
        if is_cluster {
            let mut connection = Connection::open(port, Protocol::Resp2, None)?;
            let reply = connection.say(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")?;
            ensure!(reply == b"+OK\r\n", "redis-server takes no slots");
            eventually("redis-server's cluster is well", || {
                let info = connection.say(b"CLUSTER INFO\r\n").unwrap_or_default();
                String::from_utf8_lossy(&info).contains("cluster_state:ok")
            })?;
        }
        Ok(server)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
