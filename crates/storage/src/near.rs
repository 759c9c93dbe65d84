//! This file answers: how is memory fetched before it is needed?
//!
//! A processor waits for memory as long as for some hundred instructions. Asked early it goes on meanwhile, and has several
//! such fetches under way at once.

use mem_prefetch::prefetch_read_data;

/// What a processor fetches at once.
const LINE_BYTES: usize = 64;

/// Into the nearest cache.
const NEAREST: i32 = 3;

/// Has the beginning of `thing` fetched.
pub fn fetch<T>(thing: &T) {
    prefetch_read_data::<T, NEAREST>(thing);
}

/// Has all of `things` fetched.
pub(crate) fn fetch_all<T>(things: &[T]) {
    let each = LINE_BYTES.div_ceil(size_of::<T>().max(1));
    things.iter().step_by(each).for_each(fetch);
}
