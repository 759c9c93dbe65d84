//! This file answers: which of two starts of a data folder is of the older state of it?
//!
//! A boot number is how many starts there were, and some bits drawn at each: those of this start and of the one before. A folder
//! that was put back counts on from where it stood, so a start of it may have the count of one that others have seen, or
//! follow that; it is the bits that tell.

/// How many bits are drawn.
const DRAWN_BITS: u32 = 16;

/// The number of the start after the one numbered `before`; 0: there was none.
pub fn next(before: u64, drawn: u16) -> u64 {
    (count(before) + 1) << (2 * DRAWN_BITS) | drawn_at(before) << DRAWN_BITS | u64::from(drawn)
}

/// How many starts there were with the one numbered `boot`.
pub fn count(boot: u64) -> u64 {
    boot >> (2 * DRAWN_BITS)
}

/// Whether the start numbered `boot` cannot have come after the one numbered `seen`, of the same folder.
pub fn is_outdated(boot: u64, seen: u64) -> bool {
    let is_next = count(boot) == count(seen) + 1;
    let follows = drawn_before(boot) == drawn_at(seen);
    boot != seen && (count(boot) <= count(seen) || (is_next && !follows))
}

fn drawn_at(boot: u64) -> u64 {
    boot & ((1 << DRAWN_BITS) - 1)
}

fn drawn_before(boot: u64) -> u64 {
    drawn_at(boot >> DRAWN_BITS)
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

    /// Lost without it: a disk that was put back is taken for the latest, if nobody was there at its first start.
    #[test]
    fn a_start_that_follows_one_counted_twice_is_outdated() {
        let saved = next(0, 7);
        let (latest, put_back) = (next(saved, 3), next(saved, 50_000));
        assert!(is_outdated(next(put_back, 8), latest));
        assert!(!is_outdated(next(latest, 8), latest));
        assert!(!is_outdated(next(next(latest, 8), 9), latest));
    }
}
