//! This file answers: how do many entries travel in one body?
//!
//! Back to back: key length, value length (u32 little-endian each), key, value. Read as slices of the body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Collects items into one body.
#[derive(Debug, Default)]
pub struct ItemsWriter {
    buffer: BytesMut,
    count: usize,
}

impl ItemsWriter {
    /// An empty body.
    pub fn new() -> ItemsWriter {
        ItemsWriter::default()
    }

    /// Adds one.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let length = |part: &[u8]| u32::try_from(part.len()).expect("keys and values are bounded");
        self.buffer.reserve(8 + key.len() + value.len());
        self.buffer.put_u32_le(length(key));
        self.buffer.put_u32_le(length(value));
        self.buffer.put_slice(key);
        self.buffer.put_slice(value);
        self.count += 1;
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Items so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The body.
    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

/// One item as a body.
pub fn one_item(key: &[u8], value: &[u8]) -> Bytes {
    let mut writer = ItemsWriter::new();
    writer.push(key, value);
    writer.finish()
}

/// Reads a body; stops at the first item that does not fit, with an error.
pub fn read_items(mut body: Bytes) -> Result<Vec<(Bytes, Bytes)>, BadItems> {
    let mut items = Vec::new();
    while !body.is_empty() {
        if body.len() < 8 {
            return Err(BadItems);
        }
        let key = body.get_u32_le() as usize;
        let value = body.get_u32_le() as usize;
        if key.checked_add(value).is_none_or(|both| both > body.len()) {
            return Err(BadItems);
        }
        items.push((body.split_to(key), body.split_to(value)));
    }
    Ok(items)
}

/// A body that holds no whole number of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of a message is cut short")]
pub struct BadItems;

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: entries that change on their way, or a node that panics on a cut body.
    #[test]
    fn items_come_out_as_they_went_in() {
        let mut writer = ItemsWriter::new();
        writer.push(b"a", b"1");
        writer.push(b"", b"");
        writer.push(b"key", &[0xff; 300]);
        let body = writer.finish();
        let items = read_items(body.clone()).unwrap();
        assert_eq!(items.len(), 3);
        assert_eq!(items[2], (Bytes::from("key"), Bytes::from(vec![0xff; 300])));
        for cut in 1..body.len() {
            let read = read_items(body.slice(..cut));
            assert!(read.is_err() || read.is_ok_and(|items| items.len() < 3));
        }
        assert_eq!(read_items(Bytes::from(vec![0xff; 64])), Err(BadItems));
    }
}
