//! The signals that end the process.

use tokio::signal::unix::{SignalKind, signal as on};

/// Resolves at SIGTERM or SIGINT. Where they cannot be listened to, never: they then end the process at once.
pub async fn signal() {
    let wait = async |kind| match on(kind) {
        Ok(mut signals) => {
            signals.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "cannot listen to a signal; it will end the process at once");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}
