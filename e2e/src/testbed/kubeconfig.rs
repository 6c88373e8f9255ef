use std::path::Path;

use serde_json::{Value, json};

use super::certs::write_private;
use super::error::Error;

/// How a client says who it is.
pub(crate) enum Login<'a> {
    Certificate { certificate: &'a Path, key: &'a Path },
    Token(&'a str),
}

/// Writes a kubeconfig for one server and one user, readable by its owner only. JSON, which is YAML.
pub(crate) fn write(path: &Path, server: &str, ca: &Path, login: &Login<'_>) -> Result<(), Error> {
    let user: Value = match login {
        Login::Certificate { certificate, key } => {
            json!({ "client-certificate": certificate, "client-key": key })
        }
        Login::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{ "name": "testbed", "cluster": { "server": server, "certificate-authority": ca } }],
        "users": [{ "name": "testbed", "user": user }],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "testbed" } }],
    });
    write_private(path, &format!("{config:#}\n"))
}
