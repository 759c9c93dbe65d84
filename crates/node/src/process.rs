//! This file answers: what does the system grant this process, and what has it taken of it?
//!
//! From `/proc`, where there is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files and sockets of a node besides its clients': its store, its peers, HTTP.
const OWN_FILES: u64 = 2_048;

/// Takes as many files and sockets as the system lets this process have, and warns when `connections` clients may find
/// that too few.
pub(crate) fn raise_open_files(connections: u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let granted = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let needed = connections.saturating_add(OWN_FILES);
    if granted < needed {
        tracing::warn!(
            "limits.connections = {connections} may not fit: this process may open {granted} files and sockets, and needs \
             up to {needed}; raise the limit (ulimit -n, LimitNOFILE=) or lower limits.connections"
        );
    }
}

/// Memory in use.
pub(crate) fn resident_bytes() -> Option<u64> {
    let kib: u64 = status("VmRSS:")?.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Threads.
pub(crate) fn threads() -> Option<u64> {
    status("Threads:")?.parse().ok()
}

/// Open files and sockets.
pub(crate) fn open_files() -> Option<u64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // The folder that is being read is among them.
    Some(files.saturating_sub(1))
}

/// How many it may open.
pub(crate) fn most_files() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .map(|(soft, _)| soft)
}

/// What it took of the processors, for itself and in the system.
pub(crate) fn cpu_seconds() -> Option<(f64, f64)> {
    const TICKS_PER_S: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, and may hold spaces.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_S);
    Some((seconds()?, seconds()?))
}

fn status(field: &str) -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a system that words its files otherwise would leave the figures out, unseen.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_all_of_it() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(threads().unwrap() >= 1);
        assert!((3..most_files().unwrap()).contains(&open_files().unwrap()));
        assert!(cpu_seconds().is_some());
    }
}
