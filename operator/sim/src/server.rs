//! The HTTP server around a simulated world.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::sim::Sim;

/// How long requests under way may take after the server was told to stop.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running server. Dropping it stops it as well, without waiting.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl ServerHandle {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Accepts nothing more, lets requests under way finish for two seconds, and ends.
    pub async fn shutdown(self) {
        drop(self.stop);
        // Only a panic of the server could make this an error, and a panic has been reported already.
        let _ = self.task.await;
    }
}

/// Serves the world to every connection of the listener, until the handle is shut down or dropped.
///
/// # Errors
/// When the listener does not know its address.
pub fn serve(listener: TcpListener, sim: Sim) -> io::Result<ServerHandle> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(());
    let task = tokio::spawn(accept(listener, sim, stopped));
    Ok(ServerHandle { address, stop, task })
}

async fn accept(listener: TcpListener, sim: Sim, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, sim.clone(), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Keeps the set from growing.
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::info!("requests were still under way after the grace period");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, sim: Sim, mut stopped: watch::Receiver<()>) {
    let service = service_fn(move |request| crate::http::handle(sim.clone(), peer, request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
