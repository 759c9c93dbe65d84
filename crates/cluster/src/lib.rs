//! rkv-cluster

pub mod keeper;
