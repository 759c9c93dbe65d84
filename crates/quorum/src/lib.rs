//! rkv-quorum
