//! Locks between processes.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::error::Error;

/// How often a lock is asked for that another process holds.
const POLL: Duration = Duration::from_millis(100);

/// Takes the lock of a file; says `busy` once when it has to wait. It asks again and again: a wait in the kernel can
/// not be given up, and Ctrl-C would have to wait with it.
pub(crate) async fn lock(path: &Path, busy: &str) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io("create", path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(Error::Io { action: "lock", path: path.to_owned(), source });
            }
        }
        if !std::mem::replace(&mut told, true) {
            eprintln!("testbed: {busy}");
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_one_waits_until_the_first_is_done_and_can_be_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path, "").await.unwrap();
        let given_up = tokio::time::timeout(POLL, lock(&path, "waiting, as it should")).await;
        assert!(given_up.is_err());
        drop(first);
        lock(&path, "not to be said").await.unwrap();
    }
}
