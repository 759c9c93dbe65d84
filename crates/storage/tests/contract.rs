//! Every backend through the one contract.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rkv_storage::fjall::Fjall;
use rkv_storage::sled::Sled;
use rkv_storage::{Backend, BackendKind, Batch, Error, Op, Opened, Scan, Space, StoreKey, open};

const DISKS: [BackendKind; 2] = [BackendKind::Sled, BackendKind::Fjall];

/// Behind all entries.
const END: &[u8] = &[4];

fn opened(kind: BackendKind, dir: &Path) -> Opened {
    open(kind, &dir.join("store")).unwrap()
}

fn each(kinds: &[BackendKind], test: impl Fn(Arc<dyn Backend>)) {
    for kind in kinds {
        let dir = tempfile::tempdir().unwrap();
        println!("{kind}");
        test(opened(*kind, dir.path()).backend);
    }
}

fn key(slot: u16, name: &str) -> Bytes {
    StoreKey::entry(Space::Data, 1, slot, 0, name.as_bytes())
}

fn put(backend: &dyn Backend, entries: &[(Bytes, Bytes)]) {
    let ops = entries.iter().map(|(k, v)| Op::Put(k.clone(), v.clone()));
    backend.apply(&Batch { ops: ops.collect() }).unwrap();
}

fn all(scan: Scan) -> Vec<(Bytes, Bytes)> {
    scan.map(Result::unwrap).collect()
}

/// Lost without it: a backend that forgets, mixes up or misorders entries.
#[test]
fn entries_are_kept_in_order() {
    each(&BackendKind::ALL, |backend| {
        let mut model = BTreeMap::new();
        let mut seed = 7u64;
        for round in 0..40 {
            let mut batch = Batch::default();
            for _ in 0..50 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                let slot = (seed >> 33) as u16 % 16384;
                let space = [Space::Data, Space::Hint, Space::Foreign][(seed >> 60) as usize % 3];
                let name = ((seed >> 40) % 8).to_be_bytes();
                let key = StoreKey::entry(space, 1, slot % 64 * 256, round % 3, &name);
                if seed.is_multiple_of(4) {
                    batch.delete(key.clone());
                    model.remove(&key);
                } else {
                    let value = Bytes::from(seed.to_string());
                    batch.put(key.clone(), value.clone());
                    model.insert(key, value);
                }
            }
            backend.apply(&batch).unwrap();
        }
        let expected: Vec<_> = model.clone().into_iter().collect();
        assert_eq!(all(backend.scan(&[], END)), expected);
        for space in [Space::Data, Space::Hint] {
            for slots in [0..=16383, 256..=511, 300..=4000, 1..=255] {
                let (start, end) = StoreKey::range(space, 1, slots);
                let range = model.range(start.clone()..end.clone());
                let expected: Vec<_> = range.map(|(k, v)| (k.clone(), v.clone())).collect();
                assert_eq!(all(backend.scan(&start, &end)), expected);
                assert_eq!(backend.is_empty(&start, &end).unwrap(), expected.is_empty());
                let mut paged = Vec::new();
                let mut from = start;
                loop {
                    let page = backend.page(&from, &end, 7, 100).unwrap();
                    let Some((last, _)) = page.last() else { break };
                    from = [&last[..], &[0]].concat().into();
                    assert!(page.len() <= 7);
                    paged.extend(page);
                }
                assert_eq!(paged, expected);
            }
        }
        for (key, value) in &model {
            assert_eq!(backend.get(key).unwrap().as_ref(), Some(value));
        }
        assert_eq!(backend.get(b"").unwrap(), None);
        assert_eq!(backend.get(&key(3, "absent")).unwrap(), None);
    });
}

/// Lost without it: of two changes to one key in a batch (many writers' are merged into one) the older may win.
#[test]
fn the_last_change_of_a_batch_counts() {
    each(&BackendKind::ALL, |backend| {
        let (a, b, c) = (key(1, "a"), key(1, "b"), key(9, "c"));
        let v = |n: u8| Bytes::from(vec![n]);
        put(&*backend, &[(b.clone(), v(0))]);
        let mut batch = Batch::default();
        for n in 0..100 {
            batch.put(a.clone(), v(n));
            batch.delete(b.clone());
            batch.delete(c.clone());
            batch.put(c.clone(), v(n));
        }
        batch.put(b.clone(), v(1));
        batch.delete(a.clone());
        backend.apply(&batch).unwrap();
        assert_eq!(all(backend.scan(&[], END)), vec![(b, v(1)), (c, v(99))]);
        backend.apply(&Batch::default()).unwrap();
    });
}

/// Lost without it: a handoff that sends a mixture of two moments.
#[test]
fn a_scan_stays_on_its_snapshot() {
    each(&BackendKind::ALL, |backend| {
        let entries: Vec<_> = (0..2000u32)
            .map(|n| (key(5, &format!("{n:05}")), Bytes::from(n.to_string())))
            .collect();
        let half = |rest| {
            entries
                .iter()
                .skip(rest)
                .step_by(2)
                .cloned()
                .collect::<Vec<_>>()
        };
        let (held, other) = (half(0), half(1));
        put(&*backend, &held);
        let mut sorted = held.clone();
        sorted.sort();
        let (start, end) = StoreKey::range(Space::Data, 1, 5..=5);
        let untouched = backend.scan(&start, &end);
        let mut begun = backend.scan(&start, &end);
        let first: Vec<_> = begun.by_ref().take(300).map(Result::unwrap).collect();
        let given_up = backend.scan(&start, &end);
        // Everything changes under them: overwritten, deleted, new, and the same once more.
        for round in 0..2 {
            let mut batch = Batch::default();
            for (n, (key, _)) in held.iter().enumerate() {
                if (n + round) % 2 == 0 {
                    batch.put(key.clone(), Bytes::from("changed"));
                } else {
                    batch.delete(key.clone());
                }
            }
            backend.apply(&batch).unwrap();
            put(&*backend, &other);
        }
        drop(given_up);
        backend.drop_range(&start, &end).unwrap();
        let rest: Vec<_> = begun.map(Result::unwrap).collect();
        assert_eq!([first, rest].concat(), sorted);
        assert_eq!(all(untouched), sorted);
        assert!(backend.is_empty(&start, &end).unwrap());
    });
}

/// Lost without it: half a batch in a snapshot, when another thread writes.
#[test]
fn a_scan_sees_a_batch_whole_or_not_at_all() {
    each(&BackendKind::ALL, |backend| {
        let keys: Vec<_> = (0..64).map(|slot| key(slot * 100, "k")).collect();
        let write = |n: u32| {
            let value = Bytes::from(n.to_string());
            let entries: Vec<_> = keys.iter().map(|k| (k.clone(), value.clone())).collect();
            put(&*backend, &entries);
        };
        write(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..200).for_each(write));
            while !writer.is_finished() {
                let mut values: Vec<_> = all(backend.scan(&[], END));
                assert_eq!(values.len(), keys.len());
                values.dedup_by(|a, b| a.1 == b.1);
                assert_eq!(values.len(), 1);
            }
        });
    });
}

/// Lost without it: a dropped copy that leaves entries, or takes a neighbour's along.
#[test]
fn a_range_is_dropped_and_nothing_else() {
    each(&BackendKind::ALL, |backend| {
        let entries: Vec<_> = (0..3000)
            .map(|n| (key(n % 3, &n.to_string()), Bytes::from(vec![1; 2000])))
            .collect();
        put(&*backend, &entries);
        let (start, end) = StoreKey::range(Space::Data, 1, 1..=1);
        assert_eq!(backend.drop_range(&start, &end).unwrap(), 1000);
        assert_eq!(backend.drop_range(&start, &end).unwrap(), 0);
        assert_eq!(all(backend.scan(&[], END)).len(), 2000);
        assert!(backend.is_empty(&start, &end).unwrap());
        for (start, end) in [(&b"b"[..], &b"a"[..]), (b"a", b"a"), (END, b"")] {
            assert!(backend.is_empty(start, end).unwrap());
            assert_eq!(all(backend.scan(start, end)), vec![]);
            assert_eq!(backend.drop_range(start, end).unwrap(), 0);
        }
    });
}

/// Lost without it: an empty value taken for none, a key with odd bytes or of the longest kind refused, or a large value
/// cut.
#[test]
fn odd_keys_and_large_values_are_kept() {
    // Around where a store key stops fitting an engine, and the longest that a client may use.
    let lengths = (65_500..65_525).chain([0usize, 1, 65_534, 65_535, 65_536]);
    let lengths: Vec<usize> = lengths.collect();
    for kind in BackendKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let backend = opened(kind, dir.path()).backend;
        let mut entries = Vec::new();
        for &length in &lengths {
            for byte in [0, 0xff] {
                let name = vec![byte; length];
                let key = StoreKey::entry(Space::Data, 1, 16383, u32::MAX, &name);
                entries.push((key, Bytes::from(vec![byte; length % 7])));
            }
        }
        let large = Bytes::from((0..8u32 << 20).map(|n| (n / 7) as u8).collect::<Vec<_>>());
        entries.push((key(16383, "large"), large));
        entries.sort();
        entries.dedup_by(|a, b| a.0 == b.0);
        put(&*backend, &entries);
        backend.sync().unwrap();
        let check = |backend: &dyn Backend| {
            for (key, value) in &entries {
                assert_eq!(
                    backend.get(key).unwrap().as_ref(),
                    Some(value),
                    "{}",
                    key.len()
                );
            }
            assert!(all(backend.scan(&[], END)) == entries);
            for (key, value) in &entries {
                let after = [&key[..], &[0]].concat();
                let only = vec![(key.clone(), value.clone())];
                assert!(all(backend.scan(key, &after)) == only, "{}", key.len());
                let rest = backend.page(&after, END, 1000, usize::MAX).unwrap();
                assert!(rest.iter().all(|(k, _)| k > key));
                assert_eq!(rest.len(), entries.iter().filter(|(k, _)| k > key).count());
            }
        };
        check(&*backend);
        if kind != BackendKind::Memory {
            drop(backend);
            let again = opened(kind, dir.path());
            assert!(!again.fresh);
            check(&*again.backend);
            for (key, _) in &entries {
                let ops = [Op::Delete(key.clone())].into();
                again.backend.apply(&Batch { ops }).unwrap();
            }
            assert!(again.backend.is_empty(&[], END).unwrap());
        }
    }
}

/// Lost without it: a node that comes back without its data, or that cannot come back in the same process.
#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    for kind in DISKS {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..5u8 {
            let store = opened(kind, dir.path());
            assert_eq!(store.fresh, round == 0, "{kind}");
            assert_eq!(store.set_aside, None);
            let held = all(store.backend.scan(&[], END));
            assert_eq!(held.len(), usize::from(round) * 100, "{kind}");
            let entries: Vec<_> = (0..100)
                .map(|n| (key(n, &format!("{round}")), Bytes::from(vec![round; 50])))
                .collect();
            put(&*store.backend, &entries);
            // A clean end needs no push.
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let store = opened(BackendKind::Memory, dir.path());
        assert!(store.fresh && store.backend.is_volatile());
        put(&*store.backend, &[(key(1, "a"), Bytes::new())]);
    }
}

/// Lost without it: a damaged value handed out as true, or one that nobody ever hears of.
#[test]
fn a_damaged_value_counts_as_missing() {
    for kind in DISKS {
        let dir = tempfile::tempdir().unwrap();
        let entries: Vec<_> = (0..10)
            .map(|n| (key(1, &n.to_string()), Bytes::from("value")))
            .collect();
        put(&*opened(kind, dir.path()).backend, &entries);
        let damaged = &entries[3].0;
        {
            let path = dir.path().join("store").join(kind.as_str());
            let raw: Box<dyn Backend> = match kind {
                BackendKind::Sled => Box::new(Sled::open(&path).unwrap()),
                _ => Box::new(Fjall::open(&path).unwrap()),
            };
            let mut value = raw.get(damaged).unwrap().unwrap().to_vec();
            *value.last_mut().unwrap() ^= 1;
            put(&*raw, &[(damaged.clone(), Bytes::from(value))]);
        }
        let backend = opened(kind, dir.path()).backend;
        assert_eq!(backend.stats().damaged, 0);
        assert_eq!(backend.get(damaged).unwrap(), None);
        assert_eq!(backend.stats().damaged, 1);
        let (start, end) = StoreKey::range(Space::Data, 1, 1..=1);
        let held = all(backend.scan(&start, &end));
        assert_eq!(held.len(), 9);
        assert!(held.iter().all(|(key, _)| key != damaged));
        assert_eq!(backend.page(&start, &end, 1000, 1000).unwrap(), held);
        let after = [&damaged[..], &[0]].concat();
        assert!(backend.is_empty(damaged, &after).unwrap());
        put(&*backend, &[(damaged.clone(), Bytes::from("repaired"))]);
        assert_eq!(backend.get(damaged).unwrap(), Some(Bytes::from("repaired")));
        // Dropping takes what it cannot read along.
        assert_eq!(backend.drop_range(&start, &end).unwrap(), 10);
    }
}

/// Lost without it: a store that looks empty because another engine was asked to read it.
#[test]
fn another_backends_folder_is_refused() {
    for kind in BackendKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        drop(opened(kind, dir.path()));
        for other in BackendKind::ALL.into_iter().filter(|other| *other != kind) {
            let error = open(other, &dir.path().join("store")).err().unwrap();
            let text = error.to_string();
            for word in ["storage.backend", kind.as_str(), other.as_str()] {
                assert!(text.contains(word), "{text}");
            }
        }
        drop(opened(kind, dir.path()));
    }
    let error = "rocksdb".parse::<BackendKind>().unwrap_err().to_string();
    for kind in BackendKind::ALL {
        assert!(error.contains(kind.as_str()));
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
}

/// Lost without it: a damaged engine that keeps its node from starting, or whose remains are deleted.
#[test]
fn an_engine_that_does_not_open_is_set_aside() {
    let damages: [(BackendKind, &str, &[u8]); 4] = [
        (BackendKind::Fjall, "fjall/version", b"garbage"),
        (BackendKind::Fjall, "fjall/keyspaces/0/current", b"garbage"),
        (
            BackendKind::Sled,
            "sled/conf",
            b"garbage, more than eight bytes",
        ),
        (BackendKind::Sled, "sled/db", b""),
    ];
    for (kind, file, garbage) in damages {
        let dir = tempfile::tempdir().unwrap();
        put(
            &*opened(kind, dir.path()).backend,
            &[(key(1, "a"), Bytes::new())],
        );
        let file = dir.path().join("store").join(file);
        assert!(file.exists(), "{}", file.display());
        std::fs::write(&file, garbage).unwrap();
        for n in 1..=2 {
            let store = opened(kind, dir.path());
            let aside = dir.path().join(format!("store.set-aside-{n}"));
            assert_eq!(store.set_aside.as_ref(), Some(&aside), "{}", file.display());
            assert!(aside.join(kind.as_str()).exists());
            let known = rkv_storage::folders_set_aside(&dir.path().join("store"));
            assert_eq!(known.last(), Some(&aside), "a later start can name it");
            assert!(store.fresh && store.backend.is_empty(&[], END).unwrap());
            drop(store);
            assert_eq!(opened(kind, dir.path()).set_aside, None);
            std::fs::write(&file, garbage).unwrap();
        }
    }
}

/// Lost without it: a healthy engine set aside because its folder could not be used at the moment.
#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for kind in BackendKind::ALL {
        let error = open(kind, &file.join("store")).err().unwrap();
        assert!(matches!(error, Error::Folder { .. }), "{error:?}");
        assert!(
            error.to_string().contains(file.to_str().unwrap()),
            "{error}"
        );
    }
    for text in [
        "format of the future",
        "rkv-storage format 99 backend fjall",
    ] {
        std::fs::write(dir.path().join("STORAGE"), text).unwrap();
        let error = open(BackendKind::Fjall, dir.path()).err().unwrap();
        assert!(matches!(error, Error::Folder { .. }), "{error:?}");
    }
    let used = tempfile::tempdir().unwrap();
    let store = opened(BackendKind::Fjall, used.path());
    let error = open(BackendKind::Fjall, &used.path().join("store"))
        .err()
        .unwrap();
    assert!(matches!(error, Error::Broken(_)), "{error:?}");
    put(&*store.backend, &[(key(1, "a"), Bytes::new())]);
}
