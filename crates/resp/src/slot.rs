//! This file answers: what do CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT ask for?

use crate::frame::Args;
use crate::{CommandError, integer};

/// Slots there are.
const SLOTS: i64 = 16_384;

/// Keys of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKeys {
    /// CLUSTER COUNTKEYSINSLOT
    Count {
        /// Of this slot.
        slot: u16,
    },
    /// CLUSTER GETKEYSINSLOT
    List {
        /// Of this slot.
        slot: u16,
        /// At most so many.
        most: u32,
    },
}

impl SlotKeys {
    /// The arguments of COUNTKEYSINSLOT, behind its name.
    pub(crate) fn count(args: &Args) -> Result<SlotKeys, CommandError> {
        let slot = slot(number(args, 0)?).ok_or(CommandError::Slot)?;
        Ok(SlotKeys::Count { slot })
    }

    /// The arguments of GETKEYSINSLOT, behind its name.
    pub(crate) fn list(args: &Args) -> Result<SlotKeys, CommandError> {
        let (of, most) = (number(args, 0)?, number(args, 1)?);
        let slot = slot(of).filter(|_| most >= 0);
        let slot = slot.ok_or(CommandError::SlotOrNumber)?;
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Ok(SlotKeys::List { slot, most })
    }
}

fn number(args: &Args, at: usize) -> Result<i64, CommandError> {
    let text = args.get(at).ok_or(CommandError::NotInteger)?;
    integer::parse(text).ok_or(CommandError::NotInteger)
}

fn slot(number: i64) -> Option<u16> {
    let is_slot = (0..SLOTS).contains(&number);
    is_slot.then_some(u16::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        let words = line.split_ascii_whitespace();
        words
            .map(|word| bytes::Bytes::copy_from_slice(word.as_bytes()))
            .collect()
    }

    #[test]
    fn slots_and_numbers_are_read_as_redis_reads_them() {
        // Lost without it: a tool that checks for these texts, and a count of a slot that is none.
        let slot = 16_383;
        assert_eq!(
            SlotKeys::count(&args("16383")),
            Ok(SlotKeys::Count { slot })
        );
        assert_eq!(SlotKeys::count(&args("16384")), Err(CommandError::Slot));
        assert_eq!(SlotKeys::count(&args("-1")), Err(CommandError::Slot));
        assert_eq!(SlotKeys::count(&args("x")), Err(CommandError::NotInteger));
        let most = u32::MAX;
        let all = SlotKeys::list(&args("16383 99999999999"));
        assert_eq!(all, Ok(SlotKeys::List { slot, most }));
        for line in ["16384 1", "1 -1"] {
            assert_eq!(SlotKeys::list(&args(line)), Err(CommandError::SlotOrNumber));
        }
        assert_eq!(SlotKeys::list(&args("1 x")), Err(CommandError::NotInteger));
    }
}
