//! Eviction of spot pods whose instance is about to be taken back.
//!
//! A state machine without IO, tasks or clocks: `Engine::step(events, now) -> Step`. The shell feeds it what its watches
//! and the answers to its requests say, carries out the effects, and calls again at the wake-up.
//!
//! ```text
//!  pods, budgets, events ──▶ Engine::step ──▶ Evict, Delete ──▶ API server
//!          ▲                     │  └───────▶ Report ─────────▶ Events, conditions, metrics
//!          └── answers, ticks ◀──┘ wake
//! ```
//!
//! - **Facts** ([`Pod`], [`Budget`]): the few fields that count; [`read`] takes them from objects of Kubernetes.
//! - **[`notice`]**: which pods are about to go, and until when there is time.
//! - **[`answer`]**: what the API server's replies mean. One status code has several meanings.
//! - **[`Engine`]**: one broker per budget counts evictions locally, so that no request is sent that must fail, and is
//!   woken by the budget's own status. The budget is the server's: local counts only save requests, and never grant one.
//! - **[`grace`]**, **[`why`]**, **[`outcome`]**, **[`forecast`]**: what is left of a grace period, what to say, how it
//!   ended, and how it will end; [`course`] is how evictions behind one budget follow each other.
//! - **[`remark`]**: one by one or together, so that a storm is told in few words.
//! - **[`lint`]**: could the pods of a workload be evicted in time, before it happens; **[`levers`]**: what would help.
//!
//! What the shell has to keep:
//!
//! - Nothing is sent before the first list of pods *and* the first list of budgets have ended
//!   ([`Event::PodsListed`], [`Event::BudgetsListed`]): without its budgets a pod would seem free to go.
//! - Each [`Order`] is answered exactly once by [`Event::Answered`]; [`answer::classify`] makes the answer. A request
//!   has a time limit of its own (the server may take 10 s), and no client retries it.
//! - An eviction has the UID as its only precondition: with a resourceVersion the server gives up its own retries, and
//!   any write of the pod's status makes it fail after the budget was charged.
//! - Events that come together are passed together: one decision for all of them.

pub mod answer;
mod budget;
pub mod course;
mod engine;
mod event;
mod facts;
pub mod forecast;
pub mod grace;
pub mod levers;
pub mod lint;
pub mod notice;
pub mod outcome;
mod pace;
pub mod read;
pub mod remains;
pub mod remark;
mod selector;
pub mod why;

pub use budget::{FAILURE_SETTLE, PER_BUDGET, SAFETY, SETTLE, STALE_HOLD};
pub use engine::{
    BLOCKED_LIMIT, Counts, EVENT_LIMIT, Engine, GATHER, SAY_AFTER, Settings, URGENT, WORKLOAD_LIMIT,
};
pub use event::{Attempt, Effect, Ended, Event, Order, Report, Standing, Step};
pub use facts::{
    Budget, BudgetRef, Deletion, Expired, Labels, OnDeadline, Owner, Phase, Pod, PodRef, Promise,
    SpotAnnotations, UnhealthyPolicy, workload_of,
};
pub use selector::Selector;
