//! Asks the cloud about profiles: whether their vSwitches can be used, and what the market says of their price limits.
//!
//! The writer of the statuses of profiles says what it wants to know, and is told when there is news. Each question is
//! asked seldom, and none when no profile has one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eci_core::cloud::CloudError;
use eci_core::network::{Network, VSwitches, judge, state};
use eci_core::profile::outlook::{PriceQuestion, Question, Said, about_price};
use eci_core::spot::SpotMarket;
use eci_core::spot::advice::{Offer, offers};
use eci_core::spot::market::{Advice, AdviceQuery, HISTORY_DAYS, HistoryQuery, Name, PricePoint, Wanted};
use eci_core::time::Mono;
use jiff::SignedDuration;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::metrics::Metrics;

/// How often the network is asked.
const NETWORK_EVERY: Duration = Duration::from_mins(5);
/// How often the market is asked.
const MARKET_EVERY: Duration = Duration::from_mins(15);
/// How long after a failure.
const AGAIN: Duration = Duration::from_mins(2);
/// Least time between two rounds, so that profiles that are edited together share one.
const LEAST_GAP: Duration = Duration::from_secs(2);
/// Most pages of vSwitches: 5,000.
const NETWORK_PAGES: u32 = 100;
/// Most pages of prices of one instance type.
const PRICE_PAGES: usize = 40;
/// Most instance types of one size whose prices are looked at, the cheapest of the vendor's advice.
const MOST_TYPES: usize = 5;
/// Most different questions about prices in one round.
const MOST_PRICES: usize = 50;
/// Most profiles that are asked about.
const MOST_PROFILES: usize = 10_000;

/// What is known of one profile, and of which question it is the answer.
#[derive(Clone, Debug)]
struct Known {
    question: Question,
    network: Option<Said>,
    price: Option<Said>,
}

/// What is asked and answered.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    profiles: Mutex<BTreeMap<String, Known>>,
    asked: Notify,
    news: Notify,
}

impl Outlook {
    /// Says which profiles there are and what is to be known of them.
    pub(crate) fn wants(&self, questions: impl IntoIterator<Item = (String, Question)>) {
        let mut wanted: BTreeMap<String, Question> =
            questions.into_iter().filter(|(_, question)| !question.is_empty()).take(MOST_PROFILES).collect();
        let mut profiles = self.profiles();
        let mut new = false;
        profiles
            .retain(|name, known| wanted.get(name) == Some(&known.question) && wanted.remove(name).is_some());
        for (name, question) in wanted {
            new = true;
            profiles.insert(name, Known { question, network: None, price: None });
        }
        drop(profiles);
        if new {
            self.asked.notify_one();
        }
    }

    /// What is known of a profile: conditions. Of what was not answered yet there is none.
    pub(crate) fn of(&self, name: &str) -> Vec<Said> {
        let profiles = self.profiles();
        let known = profiles.get(name);
        known.into_iter().flat_map(|known| known.network.iter().chain(&known.price).cloned()).collect()
    }

    /// Resolves when there is something new to be read.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    fn profiles(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What asks.
pub(crate) struct Asking<N, M> {
    pub(crate) outlook: Arc<Outlook>,
    pub(crate) network: N,
    pub(crate) market: M,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// The operator's own vSwitches.
    pub(crate) defaults: Vec<String>,
    /// Limit on one call.
    pub(crate) call_limit: Duration,
}

impl<N: Network, M: SpotMarket> Asking<N, M> {
    /// Asks for ever.
    pub(crate) async fn run(self) {
        let (mut network_due, mut market_due) = (Mono::default(), Mono::default());
        let mut seen: Option<VSwitches> = None;
        loop {
            let now = self.clock.now().mono;
            let wanted: Vec<Question> =
                self.outlook.profiles().values().map(|known| known.question.clone()).collect();
            let news_of_network =
                !self.defaults.is_empty() || wanted.iter().any(|q| !q.v_switches.is_empty());
            if news_of_network && network_due <= now {
                let answer = self.v_switches().await;
                let wait = if answer.is_ok() { NETWORK_EVERY } else { AGAIN };
                network_due = self.clock.now().mono.plus(wait);
                match answer {
                    Ok(switches) => seen = Some(switches),
                    Err(error) => {
                        tracing::warn!(%error, "the network cannot be asked about vSwitches; profiles keep what they say");
                    }
                }
            }
            if let Some(switches) = &seen {
                self.tell_network(switches);
            }
            if wanted.iter().any(|question| question.price.is_some()) {
                let all = market_due <= now;
                let done = self.tell_prices(all).await;
                if all || !done {
                    market_due = self.clock.now().mono.plus(if done { MARKET_EVERY } else { AGAIN });
                }
            }
            let has_price = wanted.iter().any(|question| question.price.is_some());
            let due = [news_of_network.then_some(network_due), has_price.then_some(market_due)];
            let due = due.into_iter().flatten().min();
            let wait = due.map_or(NETWORK_EVERY, |due| due.since(self.clock.now().mono));
            tokio::time::sleep(LEAST_GAP).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.outlook.asked.notified() => {}
            }
        }
    }

    async fn limited<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, CloudError> {
        let start = self.clock.now().mono;
        let result = tokio::time::timeout(self.call_limit, call).await.unwrap_or_else(|_| {
            Err(CloudError {
                action,
                meaning: eci_core::cloud::Meaning::Unknown,
                code: None,
                message: format!("no answer within {:?}", self.call_limit),
                request_id: None,
                retry_after: None,
            })
        });
        self.metrics.called(action, result.as_ref().err(), self.clock.now().mono.since(start));
        result
    }

    async fn v_switches(&self) -> Result<VSwitches, CloudError> {
        let mut all = VSwitches::new();
        let mut page = 1;
        for _ in 0..NETWORK_PAGES {
            let found = self.limited("DescribeVSwitches", self.network.v_switches(page)).await?;
            all.extend(found.items.into_iter().map(|switch| (switch.id.clone(), switch)));
            match found.next {
                Some(next) => page = next,
                None => break,
            }
        }
        Ok(all)
    }

    fn tell_network(&self, switches: &VSwitches) {
        let mut profiles = self.outlook.profiles();
        let mut changed = false;
        for known in profiles.values_mut().filter(|known| !known.question.v_switches.is_empty()) {
            let said = Some(judge(&known.question.v_switches, switches));
            changed |= known.network != said;
            known.network = said;
        }
        let named = profiles.values().flat_map(|known| &known.question.v_switches).chain(&self.defaults);
        let named: std::collections::BTreeSet<&String> = named.collect();
        self.metrics.v_switches(named.into_iter().map(|id| state(id, switches)));
        drop(profiles);
        if changed {
            self.outlook.news.notify_one();
        }
    }

    /// Asks the market, about all limits or those that have no answer; whether it answered all.
    async fn tell_prices(&self, all: bool) -> bool {
        let mut questions: Vec<PriceQuestion> = Vec::new();
        for known in self.outlook.profiles().values().filter(|known| all || known.price.is_none()) {
            if let Some(question) = known.question.price.as_ref().filter(|q| !questions.contains(q)) {
                questions.push(question.clone());
            }
        }
        let mut answered = questions.len() <= MOST_PRICES;
        for question in questions.into_iter().take(MOST_PRICES) {
            match self.offers(&question).await {
                Ok(offers) => {
                    let said = about_price(&question, &offers);
                    let mut changed = false;
                    for known in self.outlook.profiles().values_mut() {
                        if known.question.price.as_ref() == Some(&question)
                            && known.price.as_ref() != Some(&said)
                        {
                            known.price = Some(said.clone());
                            changed = true;
                        }
                    }
                    if changed {
                        self.outlook.news.notify_one();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the spot market cannot be asked about price limits; profiles keep what they say");
                    answered = false;
                }
            }
        }
        answered
    }

    async fn offers(&self, question: &PriceQuestion) -> Result<Vec<Offer>, CloudError> {
        let to = self.clock.now().wall;
        let from = to - SignedDuration::from_hours(HISTORY_DAYS * 24);
        let mut advice: Vec<Advice> = Vec::new();
        let mut prices: BTreeMap<Name, Vec<PricePoint>> = BTreeMap::new();
        for wanted in &question.runs_on {
            let types = match wanted {
                Wanted::Types(types) => types.clone(),
                Wanted::Size { .. } => {
                    let query = AdviceQuery { wanted: wanted.clone(), zone: None };
                    let found = self.limited("DescribeSpotAdvice", self.market.advice(&query)).await?;
                    let types = cheapest(&found);
                    advice.extend(found.into_iter().filter(|one| types.contains(&one.instance_type)));
                    types
                }
            };
            for instance_type in types {
                if prices.contains_key(&instance_type) {
                    continue;
                }
                let query = HistoryQuery {
                    instance_type: instance_type.clone(),
                    zone: None,
                    protection_hours: question.protection_hours,
                    from,
                    to,
                };
                let (mut points, mut page) = (Vec::new(), 0);
                for _ in 0..PRICE_PAGES {
                    let found = self
                        .limited("DescribeSpotPriceHistory", self.market.price_history(&query, page))
                        .await?;
                    points.extend(found.points);
                    match found.next {
                        Some(next) => page = next,
                        None => break,
                    }
                }
                prices.insert(instance_type, points);
            }
        }
        Ok(offers(&advice, &prices, from, to))
    }
}

/// The types with the lowest average price in percent of the regular one.
fn cheapest(advice: &[Advice]) -> Vec<Name> {
    let mut lowest: BTreeMap<&Name, u8> = BTreeMap::new();
    for one in advice {
        let percent = one.price_percent.unwrap_or(u8::MAX);
        lowest.entry(&one.instance_type).and_modify(|least| *least = percent.min(*least)).or_insert(percent);
    }
    let mut ranked: Vec<_> = lowest.into_iter().collect();
    ranked.sort_by_key(|(_, percent)| *percent);
    ranked.into_iter().take(MOST_TYPES).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(switch: &str) -> Question {
        Question { v_switches: vec![switch.to_owned()], price: None }
    }

    fn known(outlook: &Outlook) -> Vec<(String, Vec<String>)> {
        let profiles = outlook.profiles();
        profiles.iter().map(|(name, known)| (name.clone(), known.question.v_switches.clone())).collect()
    }

    #[test]
    fn an_answer_is_kept_as_long_as_the_question_is_the_same() {
        let outlook = Outlook::default();
        let said = judge(&["vsw-a".to_owned()], &VSwitches::new());
        outlook.wants([("a".to_owned(), question("vsw-a")), ("none".to_owned(), Question::default())]);
        assert_eq!(known(&outlook), [("a".to_owned(), vec!["vsw-a".to_owned()])]);
        for known in outlook.profiles().values_mut() {
            known.network = Some(said.clone());
        }
        outlook.wants([("a".to_owned(), question("vsw-a")), ("b".to_owned(), question("vsw-b"))]);
        assert_eq!(outlook.of("a"), [said]);
        assert!(outlook.of("b").is_empty());
        outlook.wants([("a".to_owned(), question("vsw-c"))]);
        assert!(outlook.of("a").is_empty(), "the answer was to another question");
        assert_eq!(known(&outlook), [("a".to_owned(), vec!["vsw-c".to_owned()])]);
    }
}
