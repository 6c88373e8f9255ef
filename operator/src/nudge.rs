//! Objects to reconcile again because of something that Kubernetes does not know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use tokio::sync::Notify;

use crate::kind::Key;

/// A queue of objects without doubles, so that it is never longer than there are objects.
#[derive(Debug, Default)]
pub struct Nudges {
    pending: Mutex<BTreeSet<Key>>,
    filled: Notify,
}

impl Nudges {
    /// Queues an object.
    pub fn push(&self, key: Key) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.filled.notify_one();
    }

    fn pop(&self) -> Option<Key> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// The objects as they come; never ends. For one reader.
    pub fn stream(self: Arc<Self>) -> impl Stream<Item = Key> + Send + 'static {
        futures::stream::unfold(self, |queue| async move {
            loop {
                // A push between the look and the wait leaves a permit: the wait is over at once.
                if let Some(key) = queue.pop() {
                    return Some((key, queue));
                }
                queue.filled.notified().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn doubles_come_once_and_nothing_is_lost() {
        let queue = Arc::new(Nudges::default());
        let key = |name: &str| Key { namespace: "ns".into(), name: name.into() };
        let mut stream = Box::pin(Arc::clone(&queue).stream());
        for name in ["b", "a", "b"] {
            queue.push(key(name));
        }
        assert_eq!((stream.next().await, stream.next().await), (Some(key("a")), Some(key("b"))));
        let (next, ()) = tokio::join!(stream.next(), async { queue.push(key("c")) });
        assert_eq!(next, Some(key("c")));
    }
}
