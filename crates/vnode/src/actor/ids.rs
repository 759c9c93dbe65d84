//! This file answers: which copy made a request, so that its answer finds the way back?

use rkv_ring::Partition;
use rkv_wire::message::{CopyId, RequestId, ServiceId};

/// Ids of the requests that one copy makes: the top bit, the copy's name, and a number.
#[derive(Debug)]
pub struct Ids {
    copy: CopyId,
    last: u64,
}

const NUMBER_BITS: u32 = 40;
const NUMBERS: u64 = (1 << NUMBER_BITS) - 1;

impl Ids {
    pub(super) fn new(copy: CopyId, seed: u64) -> Ids {
        Ids {
            copy,
            last: seed & NUMBERS,
        }
    }

    /// The next one.
    pub fn fresh(&mut self) -> RequestId {
        self.last = (self.last + 1) & NUMBERS;
        let service = u64::from(self.copy.service.0) << 55;
        let partition = u64::from(self.copy.partition.0) << NUMBER_BITS;
        RequestId((1 << 63) | service | partition | self.last)
    }
}

/// The copy that made a request, if one did.
pub fn asking_copy(id: RequestId) -> Option<CopyId> {
    (id.0 >> 63 == 1).then_some(CopyId {
        service: ServiceId(((id.0 >> 55) & 0xff) as u8),
        partition: Partition(((id.0 >> NUMBER_BITS) & 0x7fff) as u16),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: an answer that reaches another copy, which then believes a peer that it never asked.
    #[test]
    fn an_id_names_the_copy_that_made_it() {
        for (service, partition) in [(0, 0), (1, 16_383), (255, 32_767)] {
            let copy = CopyId {
                service: ServiceId(service),
                partition: Partition(partition),
            };
            let mut ids = Ids::new(copy, u64::MAX);
            let (first, second) = (ids.fresh(), ids.fresh());
            assert_ne!(first, second);
            assert_eq!(asking_copy(first), Some(copy));
            assert_eq!(asking_copy(second), Some(copy));
        }
        assert_eq!(asking_copy(RequestId(7)), None);
    }
}
