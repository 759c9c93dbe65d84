//! rkv-wire
