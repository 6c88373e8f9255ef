//! What the demo shows: a live line on a terminal, plain lines elsewhere; and its count of checks.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::stack::Stack;

/// The screen and the count.
pub(super) struct Screen {
    live: bool,
    bar: Option<ProgressBar>,
    step: Option<(String, Instant)>,
    passed: u32,
    failed: u32,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { live: std::io::stdout().is_terminal(), bar: None, step: None, passed: 0, failed: 0 }
    }

    pub(super) fn title(&mut self, text: &str) {
        self.progress_done();
        println!("\n== {text}");
    }

    pub(super) fn say(&mut self, text: &str) {
        self.progress_done();
        println!("   {text}");
    }

    /// Something that takes a while begins.
    pub(super) fn step(&mut self, what: &str) {
        if self.live {
            let bar = ProgressBar::new_spinner().with_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            self.bar = Some(bar);
        }
        self.step = Some((what.to_owned(), now()));
    }

    /// It is over.
    pub(super) fn done(&mut self) {
        self.progress_done();
        if let Some((what, start)) = self.step.take() {
            println!("   {:>5.1} s  {what}", start.elapsed().as_secs_f64());
        }
    }

    /// An object changed.
    pub(super) fn progress(&mut self, line: &str, percent: Option<i32>) {
        if !self.live {
            println!("   {line}");
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(100);
            if let Ok(style) = ProgressStyle::with_template("   {bar:30} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position(percent.and_then(|p| u64::try_from(p).ok()).unwrap_or_default());
        bar.set_message(line.to_owned());
    }

    pub(super) fn progress_done(&mut self) {
        if let Some(bar) = self.bar.take() {
            let last = bar.message();
            bar.finish_and_clear();
            if self.step.is_none() && !last.is_empty() {
                println!("   {last}");
            }
        }
    }

    /// Counts a check and shows it.
    pub(super) fn check(&mut self, passed: bool, what: &str) {
        self.progress_done();
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        println!("   [{}] {what}", if passed { "ok" } else { "FAILED" });
    }

    /// Whether a check failed so far.
    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Shows a kubectl command and what it prints.
    pub(super) async fn command(&mut self, stack: &Stack, args: &[&str]) -> Result<()> {
        let output = stack.plane().kubectl(args).await?.ok()?;
        println!("   $ kubectl {}", args.join(" "));
        for line in output.lines() {
            println!("   {line}");
        }
        Ok(())
    }

    /// The closing line; whether nothing failed.
    pub(super) fn end(&mut self) -> bool {
        self.progress_done();
        println!("\n{} checks passed, {} failed", self.passed, self.failed);
        !self.has_failed()
    }
}

#[expect(clippy::disallowed_methods, reason = "elapsed time shown to a person is about real time")]
fn now() -> Instant {
    Instant::now()
}
