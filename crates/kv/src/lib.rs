//! rkv-kv
