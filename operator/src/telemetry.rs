//! Log lines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// The crates whose level the flag sets; others only warn.
const OURS: [&str; 3] = ["eci_operator", "eci_aliyun", "eci_core"];

/// The level or filter is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log-level {0:?}: use error, warn, info, debug, trace, or a filter such as warn,eci_operator=debug"
)]
pub struct BadFilter(String);

/// kube warns with the whole text of an answer that it cannot read, and the answer may be a Secret.
const SILENCED: &str = "kube_client::client=off";

/// What is logged at this level.
fn filter(level: &str) -> Result<EnvFilter, BadFilter> {
    let bad = |_| BadFilter(level.to_owned());
    let directives = if level.contains(['=', ',']) {
        format!("{level},{SILENCED}")
    } else {
        level.parse::<tracing::Level>().map_err(|_| BadFilter(level.to_owned()))?;
        let ours = OURS.map(|name| format!("{name}={level}")).join(",");
        format!("warn,{ours},{SILENCED}")
    };
    EnvFilter::try_new(directives).map_err(bad)
}

/// Sends log lines to the standard error.
pub fn start(config: &Config) -> Result<(), BadFilter> {
    let filter = filter(&config.log_level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[test]
    fn no_filter_brings_back_the_lines_that_quote_answers() {
        for level in ["trace", "kube_client::client=trace"] {
            let lines = Lines::default();
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter(level).unwrap());
            tracing::subscriber::with_default(subscriber.with_writer(lines.clone()).finish(), || {
                tracing::warn!(target: "kube_client::client", "hunter2");
                tracing::warn!(target: "eci_operator", "seen");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(!text.contains("hunter2"), "{level}: {text}");
            assert_eq!(text.contains("seen"), level == "trace", "{level}: {text}");
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_level_is_for_our_crates_and_others_only_warn() {
        let text = filter("debug").unwrap().to_string();
        assert!(text.contains("eci_operator=debug") && text.contains("warn"), "{text}");
        assert!(filter("warn,kube=trace").is_ok());
        for bad in ["loud", "", "eci_operator=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
