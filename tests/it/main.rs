//! All integration tests, in one crate: the real programs over sockets.

mod browser;
mod causes;
mod check;
mod cli;
mod course;
mod crashes;
mod disk;
mod downloads;
#[cfg(target_os = "linux")] // what a process uses is told by /proc
mod floods;
mod folders;
mod heads;
mod hostile;
mod hosts;
mod lab;
mod lab_script;
mod lesson;
mod links;
mod original;
mod page;
mod parsers;
#[cfg(target_os = "linux")]
mod process;
mod rollout;
mod slips;
mod status;
mod support;
mod swarm;
mod terminal;
mod tracker;
mod walk;
mod with_original;
