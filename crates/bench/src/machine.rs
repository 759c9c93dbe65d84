//! This file answers: on what did it run?

use std::fs::read_to_string;

use serde::Serialize;

/// A machine, as far as its system tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Threads that run at once.
    pub cores: usize,
    /// Main memory.
    pub memory_bytes: Option<u64>,
    /// The system's kernel.
    pub kernel: Option<String>,
    /// The processor's name.
    pub cpu: Option<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Machine {
        let read = |path| read_to_string(path).ok();
        let field = |text: &str, name| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let memory = read("/proc/meminfo").and_then(|text| field(&text, "MemTotal"));
        let kib = memory.and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
        Machine {
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_bytes: kib.map(|kib| kib * 1024),
            kernel: read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            cpu: read("/proc/cpuinfo").and_then(|text| field(&text, "model name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: figures nobody can compare, for want of the machine they were taken on.
    #[test]
    fn this_machine_is_known() {
        let machine = Machine::this();
        assert!(machine.cores > 0);
        if cfg!(target_os = "linux") {
            assert!(machine.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
            assert!(machine.kernel.is_some());
        }
    }
}
