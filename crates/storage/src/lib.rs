//! rkv-storage
