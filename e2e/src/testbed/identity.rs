use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// One process among all that ever have its number: pid, boot and start time. A pid that was given to another
/// process since is not the same identity, so it is never signalled by mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process number.
    pub pid: i32,
    /// Boot of the machine and start of the process in clock ticks after it, from `/proc`.
    pub started: String,
}

impl Identity {
    /// The process that has this number now; None when there is none, or only a zombie waiting to be reaped.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        // The command name is in parentheses and may contain anything, so fields are counted after the last one.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        // proc_pid_stat(5): `state` is field 3, `starttime` field 22.
        let ticks = fields.nth(18)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self { pid, started: format!("{}-{ticks}", boot.trim()) })
    }

    /// The calling process.
    pub(crate) fn own() -> Option<Self> {
        i32::try_from(std::process::id()).ok().and_then(Self::of)
    }

    /// Whether exactly this process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Kills the group that this process leads, if exactly this process still runs.
    pub(crate) fn kill_group(&self) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // Gone between the look and the signal: what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Waits until exactly this process is gone; false when it is not after `limit`.
    pub async fn wait_gone(&self, limit: Duration) -> bool {
        let gone = async {
            while self.is_alive() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(limit, gone).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_is_itself_and_a_reused_number_is_not() {
        let own = Identity::own().expect("this test runs");
        assert!(own.is_alive());
        let earlier = Identity { started: "another-boot-1".into(), ..own };
        assert!(!earlier.is_alive());
        // Were the check missing, this would end the test run.
        earlier.kill_group();
    }

    #[test]
    fn a_number_without_a_process_has_no_identity() {
        // Above the kernel's limit for pids (2^22).
        assert_eq!(Identity::of(1 << 23), None);
    }
}
