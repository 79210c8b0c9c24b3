//! A network of one node and several devices, on one thread and in virtual time: what is promised to those who follow a node they need not trust.
//!
//! The code under test is the real one: the node, the clients, their chains and their logs. Simulated are the network ([`ate_net::SimNetwork`]), the disks
//! ([`SimStorage`](crate::SimStorage)) and the time. One seed decides what is written where, which links break, who loses power and when, and which lies are told.
//!
//! Three seeds of four are *honest*: whatever breaks, everything that was acknowledged is there at the end, once and in its place, and everybody agrees. In the
//! fourth, the node lies: then nobody takes in what was not signed, and a lie that can be found out is.

mod device;
mod hosting;
mod judge;
mod ledger;
mod liar;
mod lie;
mod lying;
mod machine;
mod run;
mod town;
mod workload;

pub use lie::Lie;
pub use lying::run_lie;
pub use run::{NetFailure, NetFinished, NetTally, run_net};
