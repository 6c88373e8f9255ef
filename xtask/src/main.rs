//! The one entry for every task of the repository.
fn main() {}
