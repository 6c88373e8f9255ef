//! Candidates for one lease, with clocks that disagree, pauses, deaths and requests that get lost: never do two of them
//! trust at once, and when the trouble is over somebody leads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use eci_core::lease::{
    Claim, Decision, LOOK_EVERY, LeaseRecord, Observation, REQUEST_LIMIT, RETRY, SHORTEST, decide,
};
use eci_core::time::Mono;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Step of the true time, in milliseconds.
const STEP: u64 = 50;
/// How long there is trouble.
const TROUBLE: u64 = 90_000;
/// How long after the trouble somebody must lead: a lease and a look, by the slowest clock, and the requests.
const RECOVERY: u64 = 16_000;

/// A clock: reading at true time 0, and thousandths of a second per second.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset: u64,
    rate: u64,
}

impl Clock {
    fn read(self, at: u64) -> Mono {
        Mono(Duration::from_micros(self.offset * 1_000 + at * self.rate))
    }
}

/// What becomes of a request: when it reaches the server and when its answer is back, after that; never when lost.
#[derive(Clone, Copy, Debug)]
struct Fate {
    there: u64,
    back: u64,
    lost_there: bool,
    lost_back: bool,
}

const GOOD: Fate = Fate { there: 10, back: 10, lost_there: false, lost_back: false };

/// What happens to a process at some time.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Pause(u64),
    Die,
    Stop,
}

#[derive(Clone, Debug)]
struct Trouble {
    clocks: Vec<Clock>,
    /// For one request after the other, over and over.
    fates: Vec<Fate>,
    blows: Vec<(u64, usize, Blow)>,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let clock = (0..1_000_000_u64, 960..=1_040_u64).prop_map(|(offset, rate)| Clock { offset, rate });
    let fate = (0..1_900_u64, 0..1_900_u64, prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(there, back, lost_there, lost_back)| Fate { there, back, lost_there, lost_back });
    let fate = prop_oneof![2 => Just(GOOD), 1 => fate];
    let blow = prop_oneof![
        4 => (100..20_000_u64).prop_map(Blow::Pause),
        1 => Just(Blow::Die),
        1 => Just(Blow::Stop),
    ];
    (
        prop::collection::vec(clock, 2..=4),
        prop::collection::vec(fate, 1..40),
        prop::collection::vec((0..TROUBLE, 0..4_usize, blow), 0..12),
    )
        .prop_map(|(clocks, fates, blows)| Trouble { clocks, fates, blows })
}

#[derive(Clone, Debug)]
enum Request {
    Look,
    Claim(Claim),
    Release(String),
}

#[derive(Clone, Debug)]
enum Answer {
    Record(Option<LeaseRecord>),
    Accepted(LeaseRecord),
    Refused,
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Flight {
    request: Request,
    from: String,
    sent: Mono,
    arrives: Option<u64>,
    answered: Option<u64>,
    answer: Option<Answer>,
}

struct Process {
    me: String,
    clock: Clock,
    seen: Observation,
    paused: u64,
    /// The request whose answer it waits for, and until when.
    waits: Option<(usize, Mono)>,
}

/// How the caller of `decide` gets it wrong, to see that the model would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    TrustsFromTheAnswer,
    WaitsFromTheRequest,
}

struct World {
    flaw: Flaw,
    record: Option<LeaseRecord>,
    writes: u64,
    births: u64,
    flights: Vec<Flight>,
    processes: Vec<Process>,
}

impl World {
    fn new(trouble: &Trouble, flaw: Flaw) -> Self {
        let mut world =
            Self { flaw, record: None, writes: 0, births: 0, flights: Vec::new(), processes: Vec::new() };
        for clock in &trouble.clocks {
            let process = world.born(*clock);
            world.processes.push(process);
        }
        world
    }

    fn born(&mut self, clock: Clock) -> Process {
        self.births += 1;
        let me = format!("p{}", self.births);
        Process { me, clock, seen: Observation::new(SHORTEST), paused: 0, waits: None }
    }

    /// The API server: writes only where the precondition holds.
    fn serve(&mut self, request: &Request, from: &str) -> Answer {
        let version = self.record.as_ref().map(|record| record.version.clone());
        let (wanted, holder, transitions) = match request {
            Request::Look => return Answer::Record(self.record.clone()),
            Request::Claim(claim) => (claim.version.clone(), Some(from.to_owned()), claim.transitions),
            Request::Release(version) => (Some(version.clone()), None, 0),
        };
        if version != wanted {
            return Answer::Refused;
        }
        self.writes += 1;
        let new = LeaseRecord { version: self.writes.to_string(), holder, duration: SHORTEST, transitions };
        self.record = Some(new.clone());
        Answer::Accepted(new)
    }

    fn send(&mut self, n: usize, request: Request, at: u64, fate: Fate) {
        let process = &mut self.processes[n];
        let sent = process.clock.read(at);
        process.seen.asks(sent);
        let limit =
            process.seen.trusted().map_or(REQUEST_LIMIT, |until| until.since(sent).min(REQUEST_LIMIT));
        process.waits = Some((self.flights.len(), sent.plus(limit)));
        let arrives = (!fate.lost_there).then_some(at + fate.there);
        let answered = arrives.filter(|_| !fate.lost_back).map(|arrives| arrives + fate.back);
        let from = process.me.clone();
        self.flights.push(Flight { request, from, sent, arrives, answered, answer: None });
    }

    fn arrivals(&mut self, at: u64) {
        for n in 0..self.flights.len() {
            if self.flights[n].arrives.is_some_and(|arrives| arrives <= at) {
                let Flight { request, from, .. } = self.flights[n].clone();
                let answer = self.serve(&request, &from);
                self.flights[n].arrives = None;
                self.flights[n].answer = Some(answer);
            }
        }
    }

    /// One process does what it can do now.
    fn act(&mut self, n: usize, at: u64, fate: impl FnOnce() -> Fate) {
        let process = &mut self.processes[n];
        if process.paused > at {
            return;
        }
        let now = process.clock.read(at);
        if let Some((flight, limit)) = process.waits {
            let Flight { answered, sent, answer, .. } = self.flights[flight].clone();
            match answer.filter(|_| answered.is_some_and(|answered| answered <= at)) {
                Some(Answer::Record(record)) => {
                    process.seen.saw(record, if self.flaw == Flaw::WaitsFromTheRequest { sent } else { now });
                }
                Some(Answer::Accepted(record)) => {
                    let sent = if self.flaw == Flaw::TrustsFromTheAnswer { now } else { sent };
                    process.seen.claimed(record, sent, now);
                }
                None if now < limit => return,
                Some(Answer::Refused) | None => {}
            }
            process.waits = None;
        }
        match decide(&process.seen, &process.me, now) {
            Decision::Look => self.send(n, Request::Look, at, fate()),
            Decision::Acquire(claim) | Decision::Renew(claim) => {
                self.send(n, Request::Claim(claim), at, fate());
            }
            Decision::Wait(until) => assert!(until > now, "it waits for the past"),
            Decision::Lost => {
                let clock = process.clock;
                self.processes[n] = self.born(clock);
            }
        }
    }

    fn strike(&mut self, n: usize, at: u64, blow: Blow) {
        let n = n % self.processes.len();
        match blow {
            Blow::Pause(long) => self.processes[n].paused = at + long,
            Blow::Stop if self.processes[n].paused > at => {}
            Blow::Die | Blow::Stop => {
                let holds = self.holds(n, at);
                let version = self.processes[n].seen.certain().map(|record| record.version.clone());
                if let (Blow::Stop, true, Some(version)) = (blow, holds, version) {
                    self.processes[n].seen.resigns();
                    self.send(n, Request::Release(version), at, GOOD);
                }
                let clock = self.processes[n].clock;
                self.processes[n] = self.born(clock);
            }
        }
    }

    /// Whether the process would act as the leader if it looked at its clock now.
    fn holds(&self, n: usize, at: u64) -> bool {
        let Process { seen, clock, .. } = &self.processes[n];
        seen.trusted().is_some_and(|until| clock.read(at) < until)
    }
}

/// Lives through the trouble and a quiet time after it; says what went wrong.
fn live(trouble: &Trouble, flaw: Flaw) -> Result<(), TestCaseError> {
    let mut world = World::new(trouble, flaw);
    let mut requests = 0;
    for at in (0..TROUBLE + RECOVERY + 20_000).step_by(usize::try_from(STEP).unwrap()) {
        if at == TROUBLE {
            world.processes.iter_mut().for_each(|process| process.paused = 0);
        }
        world.arrivals(at);
        for (when, n, blow) in &trouble.blows {
            if (at..at + STEP).contains(when) {
                world.strike(*n, at, *blow);
            }
        }
        for n in 0..world.processes.len() {
            world.act(n, at, || {
                requests += 1;
                if at < TROUBLE { trouble.fates[requests % trouble.fates.len()] } else { GOOD }
            });
            let holders: Vec<_> = (0..world.processes.len()).filter(|n| world.holds(*n, at)).collect();
            prop_assert!(holders.len() <= 1, "{holders:?} lead at {at} ms");
            prop_assert!(
                at < TROUBLE + RECOVERY || holders.len() == 1,
                "nobody leads {} ms after the trouble",
                at - TROUBLE
            );
        }
    }
    Ok(())
}

/// The same histories in every run.
fn runner(max_shrink_iters: u32) -> TestRunner {
    let config = Config { cases: 3_000, failure_persistence: None, max_shrink_iters, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn never_do_two_lead_at_once_and_after_the_trouble_somebody_does() {
    runner(1_000).run(&trouble(), |trouble| live(&trouble, Flaw::None)).unwrap();
}

#[test]
fn the_model_notices_who_counts_from_the_wrong_moment() {
    for flaw in [Flaw::TrustsFromTheAnswer, Flaw::WaitsFromTheRequest] {
        match runner(0).run(&trouble(), |trouble| live(&trouble, flaw)) {
            Err(TestError::Fail(why, _)) => assert!(why.message().contains("lead at"), "{flaw:?}: {why}"),
            other => panic!("{flaw:?} was not noticed: {other:?}"),
        }
    }
}

#[test]
fn after_a_death_somebody_leads_within_a_lease_and_a_look() {
    let steady = Clock { offset: 0, rate: 1_000 };
    let calm = Trouble { clocks: vec![steady; 3], fates: vec![GOOD], blows: vec![] };
    for died in (5_000..9_000).step_by(350) {
        let mut world = World::new(&calm, Flaw::None);
        let mut led_again = None;
        for at in (0..40_000).step_by(usize::try_from(STEP).unwrap()) {
            world.arrivals(at);
            if at == died {
                let leader = (0..3).find(|n| world.holds(*n, at)).expect("somebody leads");
                world.processes.remove(leader);
            }
            for n in 0..world.processes.len() {
                world.act(n, at, || GOOD);
            }
            if at > died && (0..world.processes.len()).any(|n| world.holds(n, at)) {
                led_again.get_or_insert(at - died);
            }
        }
        let took = Duration::from_millis(led_again.expect("somebody leads again"));
        assert!(took <= SHORTEST + LOOK_EVERY + RETRY, "{took:?}");
    }
}
