//! This file answers: which of two starts of a data folder is of the older state of it?
//!
//! A boot number is how many starts there were, and some bits drawn at each. A folder that was put back counts on from where it
//! stood, so a start of it may have the count of one that others have seen; it is the bits that tell the two apart.

/// How many bits are drawn.
const DRAWN_BITS: u32 = 16;

/// The number of the start after the one numbered `before`; 0: there was none.
pub fn next(before: u64, drawn: u16) -> u64 {
    (count(before) + 1) << DRAWN_BITS | u64::from(drawn)
}

/// How many starts there were with the one numbered `boot`.
pub fn count(boot: u64) -> u64 {
    boot >> DRAWN_BITS
}

/// Whether the start numbered `boot` cannot have come after the one numbered `seen`, of the same folder.
pub fn is_outdated(boot: u64, seen: u64) -> bool {
    boot != seen && count(boot) <= count(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a disk that was put back is taken for the latest, if it was saved just one start ago.
    #[test]
    fn a_start_that_was_counted_twice_is_outdated() {
        let saved = next(next(0, 7), 9);
        assert_eq!(count(saved), 2);
        let (latest, put_back) = (next(saved, 3), next(saved, 50_000));
        assert!(is_outdated(put_back, latest) && is_outdated(saved, latest));
        assert!(!is_outdated(latest, saved) && !is_outdated(latest, latest));
        assert!(is_outdated(put_back, next(latest, 0)));
    }
}
