//! This file answers: what happened meanwhile, as told by others?
//!
//! Whoever kills a node or begins a handoff appends a line to a file; its lines come to stand in `events.csv`, beside the
//! figures. A line is `timestamp,unit,label` as there, or a label alone: that gets the time at which it was seen.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::files::{EVENTS, put};

/// How often the file is looked at: how late a label's time may be.
const LOOK: Duration = Duration::from_millis(50);
/// How much of the file is read at most.
const FILE_MOST: u64 = 1 << 20;
const HEADER: &str = "timestamp,unit,label";

/// Copies events while a run goes.
#[derive(Debug)]
pub(crate) struct Events {
    finish: Sender<()>,
    thread: JoinHandle<io::Result<bool>>,
}

impl Events {
    /// Begins to copy from `file` into `folder`.
    pub(crate) fn watch(file: &Path, folder: &Path) -> io::Result<Events> {
        let mut copy = Copy {
            file: file.to_owned(),
            folder: folder.to_owned(),
            seen: 0,
            text: format!("{HEADER}\n"),
            was_there: false,
        };
        copy.write()?;
        let (finish, finished) = channel();
        let thread = std::thread::Builder::new().name("bench-events".to_owned());
        let thread = thread.spawn(move || {
            loop {
                let is_last =
                    !matches!(finished.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout));
                copy.look(now_micros(), is_last)?;
                if is_last {
                    return Ok(copy.was_there);
                }
            }
        })?;
        Ok(Events { finish, thread })
    }

    /// Copies once more, and tells whether there was a file at all.
    pub(crate) fn finish(self) -> io::Result<bool> {
        // Who has ended already has an error to tell.
        let _ = self.finish.send(());
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that copies events panicked")))
    }
}

struct Copy {
    file: PathBuf,
    folder: PathBuf,
    /// Bytes of the file that have been copied.
    seen: usize,
    /// What `events.csv` holds.
    text: String,
    was_there: bool,
}

impl Copy {
    fn look(&mut self, now_micros: u128, is_last: bool) -> io::Result<()> {
        // What is not there yet may come.
        let Ok(file) = File::open(&self.file) else {
            return Ok(());
        };
        self.was_there = true;
        let mut bytes = Vec::new();
        file.take(FILE_MOST).read_to_end(&mut bytes)?;
        let new = bytes.get(self.seen..).unwrap_or_default();
        // The last line may still be being written.
        let whole = match new.iter().rposition(|byte| *byte == b'\n') {
            _ if is_last => new.len(),
            Some(end) => end + 1,
            None => 0,
        };
        if whole == 0 {
            return Ok(());
        }
        for line in String::from_utf8_lossy(&new[..whole]).lines() {
            self.text.push_str(&row(line.trim(), now_micros));
        }
        self.seen += whole;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        put(&self.folder, EVENTS, self.text.as_bytes())
    }
}

fn row(line: &str, now_micros: u128) -> String {
    let mut parts = line.splitn(3, ',');
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (parts.next(), parts.next(), parts.next()) {
        _ if line.is_empty() || line == HEADER => String::new(),
        (Some(when), Some(_), Some(_)) if is_number(when) => format!("{line}\n"),
        _ if line.contains([',', '"']) => {
            let label = line.replace('"', "\"\"");
            format!("{now_micros},microsecond,\"{label}\"\n")
        }
        _ => format!("{now_micros},microsecond,{line}\n"),
    }
}

fn now_micros() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros())
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, read_to_string};
    use std::io::Write;

    use super::*;

    /// Lost without it: a kill is not marked in the plot, or marked twice, or half a line is.
    #[test]
    fn events_are_copied_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let mut copy = Copy {
            file: file.clone(),
            folder: folder.path().to_owned(),
            seen: 0,
            text: format!("{HEADER}\n"),
            was_there: false,
        };
        let append = |text: &str| {
            let file = OpenOptions::new().create(true).append(true).open(&file);
            file.unwrap().write_all(text.as_bytes()).unwrap();
        };
        copy.look(1, false).unwrap();
        assert!(!copy.was_there);
        append("timestamp,unit,label\n5,microsecond,handoff, all of it\nnode2 ki");
        copy.look(7, false).unwrap();
        append("lled\n\nback, \"whole\"\n");
        copy.look(8, false).unwrap();
        append("end");
        copy.look(9, false).unwrap();
        copy.look(10, true).unwrap();
        let copied = read_to_string(folder.path().join(EVENTS)).unwrap();
        assert_eq!(
            copied,
            "timestamp,unit,label\n5,microsecond,handoff, all of it\n8,microsecond,node2 killed\n\
             8,microsecond,\"back, \"\"whole\"\"\"\n10,microsecond,end\n"
        );
    }

    /// Lost without it: what was told in the last moment of a run is missing, or a path that is wrong goes unnoticed.
    #[test]
    fn the_end_is_looked_at_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let events = Events::watch(&file, folder.path()).unwrap();
        std::fs::write(&file, "7,microsecond,the end\n").unwrap();
        assert!(events.finish().unwrap());
        let copied = read_to_string(folder.path().join(EVENTS)).unwrap();
        assert!(copied.ends_with("\n7,microsecond,the end\n"), "{copied}");
        let events = Events::watch(&folder.path().join("absent"), folder.path()).unwrap();
        assert!(!events.finish().unwrap());
    }
}
