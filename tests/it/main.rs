//! All integration tests, in one crate: the real programs over sockets.

mod cli;
mod course;
mod hostile;
mod hosts;
mod lab;
mod original;
mod parsers;
mod support;
mod swarm;
mod tracker;
mod with_original;
