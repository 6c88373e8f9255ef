//! The simulated cloud as a program: `eci-sim --help`.

mod options;

use anyhow::Context as _;
use clap::Parser as _;
use eci_sim::server;
use options::Options;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let sim = options.sim()?;
    let listen = options.listen()?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let server = server::serve(listener, sim)?;
    options.announce(server.local_addr())?;
    options::asked_to_stop().await?;
    server.shutdown().await;
    Ok(())
}
