//! Measurements of everything together. What they find wrong is an invariant that does not hold, never a time: times
//! depend on the machine.

mod admission;
pub mod crash;
pub mod eviction;
mod measure;
mod memory;
mod reconcile;
mod table;

pub use admission::{Admission, run as admission};
pub use memory::{Memory, run as memory};
pub use reconcile::{Reconcile, run as reconcile};
