//! What fuzzing found worth keeping, as ordinary tests: see `fuzz/entry.rs` and `scripts/fuzz`.

use std::fs;
use std::path::Path;

#[path = "../fuzz/entry.rs"]
mod entry;

fn replay(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).unwrap();
    let mut count = 0;
    for file in files {
        let file = file.unwrap().path();
        println!("{}", file.display()); // shown when it panics
        entry(&fs::read(&file).unwrap());
        count += 1;
    }
    assert!(count > 0, "no corpus in {}", folder.display());
}

/// Lost without it: bytes that once broke the parser of requests, or that reach its rarest branches, could break it again.
#[test]
fn requests() {
    replay("requests", entry::requests);
}

/// Lost without it: the same for the arguments of each command.
#[test]
fn commands() {
    replay("commands", entry::commands);
}

/// Lost without it: the same for what a server answers.
#[test]
fn replies() {
    replay("replies", entry::replies);
}
