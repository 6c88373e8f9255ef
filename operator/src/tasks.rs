//! The long tasks of the process, and where they look.

use tokio::sync::watch;
use tokio::task::JoinSet;

/// The tasks; each gives its name when it ends.
pub(crate) type Tasks = JoinSet<&'static str>;

/// Runs a task that never ends by itself, until the process stops.
pub(crate) fn background(
    task: impl Future<Output = ()> + Send + 'static,
    name: &'static str,
    stopped: &watch::Receiver<bool>,
    tasks: &mut Tasks,
) {
    let mut stopping = stopped.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = task => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        name
    });
}

/// What to watch for these namespaces: each of them, or `None`, the whole cluster, when none is named.
pub(crate) fn places(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}
