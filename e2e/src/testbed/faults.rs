//! What happens to a control plane in production: its API server ends and comes back, its history is compacted, and the
//! network between it and one of its clients fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::binaries::Tool;
use super::control_plane::ControlPlane;
use super::error::Error;

/// How often a start is tried when a client of the API server happens to hold its port.
const ATTEMPTS: usize = 3;

impl ControlPlane {
    /// Kills the API server, in the middle of whatever it does, and starts it again at the same port and with the same
    /// etcd. What it remembered of the past is gone: every watch has to begin anew with a list.
    pub async fn restart_api_server(&self) -> Result<(), Error> {
        let name = Tool::KubeApiserver.name();
        let servers = self.processes().iter().filter(|process| process.name() == name);
        for server in servers {
            let mut attempt = 1;
            loop {
                server.restart()?;
                match self.wait_for_server().await {
                    Err(error) if error.is_port_taken() && attempt < ATTEMPTS => attempt += 1,
                    result => break result?,
                }
            }
        }
        Ok(())
    }

    /// Lets etcd forget all that was before now, as it does every five minutes in production. Watches that want to go on
    /// from before, at resources that the API server keeps no history of by itself (`--watch-cache-sizes`), are answered
    /// 410 from here on.
    pub async fn forget_history(&self) -> Result<(), Error> {
        let url = self.etcd.parse::<http::Uri>().map_err(|error| self.etcd_failed(&error))?;
        let client = Client::try_from(Config::new(url)).map_err(Error::kube("make a client of etcd"))?;
        let ask = async |path: &str, body: Value| {
            let request = http::Request::post(path).body(body.to_string().into_bytes());
            let request = request.map_err(|error| self.etcd_failed(&error))?;
            client.request::<Value>(request).await.map_err(Error::kube(format!("ask etcd for {path}")))
        };
        let status = ask("/v3/maintenance/status", json!({})).await?;
        let revision = &status["header"]["revision"];
        ask("/v3/kv/compaction", json!({ "revision": revision, "physical": true })).await?;
        Ok(())
    }

    fn etcd_failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Etcd { url: self.etcd.clone(), why: error.to_string() }
    }
}

/// A line to the API server that can be cut. Dropping it ends it.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    /// Whether new connections are let through.
    whole: AtomicBool,
    /// Changes whenever all connections have to end.
    cuts: watch::Sender<u64>,
}

impl Link {
    /// Opens one in front of a control plane. TLS goes through: whoever uses it still talks to the API server itself.
    pub async fn open(plane: &ControlPlane) -> std::io::Result<Self> {
        let server = plane.server().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { whole: AtomicBool::new(true), cuts: watch::Sender::new(0) });
        let mut task = JoinSet::new();
        task.spawn(serve(listener, server, Arc::clone(&shared)));
        Ok(Self { address, shared, _task: task })
    }

    /// Where it begins.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Ends all connections, and lets none through until it is mended.
    pub fn cut(&self) {
        self.shared.whole.store(false, Ordering::SeqCst);
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.whole.store(true, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, server: String, shared: Arc<Shared>) {
    // Ends with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Before the question whether it is whole, so that no cut is missed.
                let cuts = shared.cuts.subscribe();
                if shared.whole.load(Ordering::SeqCst) {
                    connections.spawn(connect(stream, server.clone(), cuts));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut from: TcpStream, server: String, mut cuts: watch::Receiver<u64>) {
    let Ok(mut to) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // However it ends, both sides see a closed connection.
        _ = copy_bidirectional(&mut from, &mut to) => {}
        _ = cuts.changed() => {}
    }
}
