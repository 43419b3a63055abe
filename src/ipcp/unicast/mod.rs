//! The unicast layer: flows between any two members of a network of our own, on top of flows of any layer.
//!
//! | component | what it does |
//! |---|---|
