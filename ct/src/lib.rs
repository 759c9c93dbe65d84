//! Multi-node suites.
