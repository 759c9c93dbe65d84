//! rkv-resp
