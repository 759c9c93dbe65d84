//! rkv-cluster
