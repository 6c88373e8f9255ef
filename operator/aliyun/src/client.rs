//! The client: the port [`Cloud`] over HTTP.

mod data_cache;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eci_core::cloud::{
    ClientToken, Cloud, CloudError, CloudId, CreateDataCache, CreateImageCache, CreatedImageCache,
    DataCacheView, ImageCacheView, Meaning, Page, PageToken, Place, TEXT_LIMIT, UpdateDataCache,
    UpdateImageCache, Usage,
};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, DATE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Empty;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;

use crate::action::{Action, Service};
use crate::clock::{Clock, Nonces};
use crate::config::{Config, ConfigError};
use crate::credentials::{Credentials, CredentialsProvider};
use crate::encode::{self, MapKeys, Params};
use crate::endpoint::Endpoint;
use crate::meaning::{self, NO_NEED_UPDATE};
use crate::pace::{LONGEST_HOLD, Pace, Waits};
use crate::request::ResourceType;
use crate::scrub::Scrub;
use crate::sign::{self, EMPTY_SHA256, ParameterNames};
use crate::transport::{Reply, SendError, Transport};
use crate::{convert, request, wire};

/// Longest that a read waits for its turn; beyond that it is refused as throttled. A write waits half of the request
/// time-out.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How often a read is repeated when nobody knows what became of it.
pub const READ_RETRIES: u32 = 2;

/// Pause before the first repeated read; it doubles.
pub const READ_BACKOFF: Duration = Duration::from_millis(200);

/// Longest code of an error, in characters.
const CODE_LIMIT: usize = 128;

/// Longest ID of a request, in characters.
const REQUEST_ID_LIMIT: usize = 64;

/// Longest page token, in bytes: it has to fit into the next request.
const PAGE_TOKEN_LIMIT: usize = 4 * 1024;

/// Client of the API in one region. Makes no connection and loads no certificate before the first call.
pub struct Client {
    region: String,
    credentials: Arc<dyn CredentialsProvider>,
    clock: Arc<dyn Clock>,
    nonces: Arc<dyn Nonces>,
    parameter_names: ParameterNames,
    map_keys: MapKeys,
    /// One for each action, so that lists cannot starve creates and deletes.
    paces: [Mutex<Pace>; Action::ALL.len()],
    waits: Waits,
    connect_timeout: Duration,
    request_timeout: Duration,
    transport: Transport,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.transport.endpoint();
        f.debug_struct("Client")
            .field("region", &self.region)
            .field("endpoint", endpoint)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::of(Service::Eci, config)
    }

    /// Makes a client of a service.
    pub(crate) fn of(service: Service, config: Config) -> Result<Self, ConfigError> {
        let endpoint = config.checked_endpoint(service)?;
        let pace = |action: Action| Pace::new(if action.is_read() { config.reads } else { config.writes });
        Ok(Self {
            paces: Action::ALL.map(|action| Mutex::new(pace(action))),
            waits: Waits::default(),
            transport: Transport::new(endpoint, config.connect_timeout),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            region: config.region,
            credentials: config.credentials,
            clock: config.clock,
            nonces: config.nonces,
            parameter_names: config.parameter_names,
            map_keys: config.map_keys,
        })
    }

    /// The region that it calls.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Where calls go.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// How long calls have waited for their turn.
    pub fn waits(&self) -> Waits {
        self.waits.clone()
    }

    /// Calls an action. What was certainly not sent is tried once more, as is what was rejected for temporary credentials
    /// that can be renewed, and a read of unknown outcome [`READ_RETRIES`] times more; nothing else is repeated.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        action: Action,
        params: &Params,
    ) -> Result<T, CloudError> {
        let deadline =
            (!action.is_read()).then(|| self.clock.monotonic().saturating_add(self.request_timeout));
        let (mut reconnected, mut repeated, mut renewed) = (false, 0, false);
        loop {
            let mut key = None;
            let error = match self.attempt(action, params, deadline, &mut key).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match error.meaning {
                // Temporary credentials may end before their time. Who is not let in has done nothing.
                Meaning::BadCredentials
                    if !renewed
                        && key.is_some_and(|key| self.credentials.rejected(&key))
                        && self.time_left(deadline).is_some() =>
                {
                    renewed = true;
                }
                Meaning::NotSent if !reconnected && self.time_left(deadline).is_some() => reconnected = true,
                Meaning::Unknown
                    if action.is_read() && repeated < READ_RETRIES && error.retry_after.is_none() =>
                {
                    tokio::time::sleep(READ_BACKOFF * 2_u32.pow(repeated)).await;
                    repeated += 1;
                }
                _ => return Err(error),
            }
        }
    }

    /// How long a request may take that is sent now; `None` when it could not even connect before the deadline.
    fn time_left(&self, deadline: Option<Duration>) -> Option<Duration> {
        let Some(deadline) = deadline else { return Some(self.request_timeout) };
        let left = deadline.saturating_sub(self.clock.monotonic());
        (left > self.connect_timeout).then_some(left)
    }

    /// Waits for its turn, signs and sends one request, to be answered before the deadline. `key` becomes the ID of the
    /// access key that it is signed with.
    async fn attempt<T: DeserializeOwned>(
        &self,
        action: Action,
        params: &Params,
        deadline: Option<Duration>,
        key: &mut Option<String>,
    ) -> Result<T, CloudError> {
        self.wait_for_turn(action, deadline).await?;
        let credentials = self.credentials.credentials().await;
        let credentials = credentials.map_err(|error| {
            failure(action, error.meaning(), convert::clean(&error.to_string(), TEXT_LIMIT))
        })?;
        *key = Some(credentials.access_key_id.clone());
        if credentials.expiry.is_some_and(|expiry| expiry <= self.clock.now()) {
            return Err(failure(action, Meaning::NoCredentials, "the temporary credentials have expired"));
        }
        let scrub = Scrub::new(
            params
                .secrets()
                .iter()
                .chain([&credentials.access_key_secret])
                .chain(credentials.security_token.as_ref()),
        );
        let request = self.signed(action, params, &credentials)?;

        let Some(limit) = self.time_left(deadline) else {
            return Err(failure(
                action,
                Meaning::NotSent,
                "too much time had passed before the call could be sent",
            ));
        };
        let start = self.clock.monotonic();
        let sent = self.transport.send(request, action.is_read(), limit).await;
        let duration = self.clock.monotonic().saturating_sub(start);
        let (status, result) = match sent {
            Ok(reply) => (Some(reply.status.as_u16()), self.read(action, &scrub, &reply)),
            Err(SendError::NotSent(message)) => {
                (None, Err(failure(action, Meaning::NotSent, scrub.text(&message, TEXT_LIMIT))))
            }
            Err(SendError::Unknown(message)) => {
                (None, Err(failure(action, Meaning::Unknown, scrub.text(&message, TEXT_LIMIT))))
            }
        };
        // Never the URL or the headers: registry passwords travel in the query.
        let request_id = match &result {
            Ok((_, request_id)) => request_id.as_deref(),
            Err(error) => error.request_id.as_deref(),
        };
        let meaning = result.as_ref().err().map(|error| tracing::field::debug(error.meaning));
        tracing::debug!(
            action = action.name(),
            status,
            request_id,
            meaning,
            duration_ms = duration.as_millis(),
            "cloud call"
        );
        result.map(|(reply, _)| reply)
    }

    async fn wait_for_turn(&self, action: Action, deadline: Option<Duration>) -> Result<(), CloudError> {
        let now = self.clock.monotonic();
        // Half of the time is left for the call itself.
        let longest = deadline.map_or(LONGEST_WAIT, |deadline| deadline.saturating_sub(now) / 2);
        match self.with_pace(action, |pace| pace.take(now, longest)) {
            Ok(Duration::ZERO) => Ok(()),
            Ok(wait) => {
                self.waits.add(action, wait);
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Err(wait) => Err(CloudError {
                retry_after: Some(wait),
                ..failure(
                    action,
                    Meaning::Throttled,
                    "not sent: too many calls of this action are waiting, or the cloud asked for a pause",
                )
            }),
        }
    }

    fn with_pace<R>(&self, action: Action, act: impl FnOnce(&mut Pace) -> R) -> R {
        // A pace is only numbers, whole at any time: a panic elsewhere cannot have spoilt it.
        act(&mut self.paces[action as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn signed(
        &self,
        action: Action,
        params: &Params,
        credentials: &Credentials,
    ) -> Result<Request<Empty<Bytes>>, CloudError> {
        let pairs = params.sorted();
        let date = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce =
            self.nonces.next().map_err(|error| failure(action, Meaning::NotSent, error.to_string()))?;
        let mut headers = vec![
            ("host", self.endpoint().authority()),
            ("x-acs-action", action.name()),
            ("x-acs-version", action.service().version()),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &nonce),
            ("x-acs-content-sha256", EMPTY_SHA256),
        ];
        if let Some(token) = &credentials.security_token {
            headers.push(("x-acs-accesskey-id", &credentials.access_key_id));
            headers.push(("x-acs-security-token", token.expose_secret()));
        }
        let signed = sign::v3(
            &sign::Request {
                method: "POST",
                path: "/",
                query: &pairs,
                headers: &headers,
                body_sha256: EMPTY_SHA256,
            },
            self.parameter_names,
            &credentials.access_key_id,
            &credentials.access_key_secret,
        );
        build(&format!("{}/?{}", self.endpoint(), encode::query(&pairs)), &headers, &signed.authorization)
            // Without the cause, which may show a part of the URL.
            .ok_or_else(|| {
                failure(
                    action,
                    Meaning::Invalid,
                    "the request cannot be written: it is longer than 64 KiB, or the access key has strange characters",
                )
            })
    }

    /// Reads a whole reply: its value and the ID of the request.
    fn read<T: DeserializeOwned>(
        &self,
        action: Action,
        scrub: &Scrub,
        reply: &Reply,
    ) -> Result<(T, Option<String>), CloudError> {
        if reply.status.is_success() {
            self.with_pace(action, Pace::succeeded);
            let request_id = wire::read(&reply.body)
                .ok()
                .and_then(|reply: wire::AnyReply| reply.request_id)
                .map(|id| scrub.text(&id, REQUEST_ID_LIMIT));
            return match wire::read(&reply.body) {
                Ok(value) => Ok((value, request_id)),
                Err(error) => Err(CloudError {
                    request_id,
                    ..failure(action, Meaning::Unknown, format!("the answer cannot be read: {error}"))
                }),
            };
        }
        let status = reply.status.as_u16();
        let error: wire::ErrorReply = wire::read(&reply.body).unwrap_or_default();
        // Judged as it came: a short password, struck out of it, could make another code of it.
        let code = error.code.as_deref().map(str::trim).filter(|code| !code.is_empty());
        let retry_after = retry_after(&reply.headers);
        let meaning = meaning::meaning(action, status, code, retry_after.is_some());
        let throttled = meaning == Meaning::Throttled || code.is_some_and(meaning::is_throttling);
        if throttled || status == 429 || retry_after.is_some() {
            let now = self.clock.monotonic();
            self.with_pace(action, |pace| pace.throttled(now, retry_after));
        }
        let mut message = match (code, &error.message) {
            (Some(_), Some(text)) => scrub.message(code, text),
            (Some(_), None) => format!("status {status}"),
            (None, _) => format!(
                "status {status} without an error code: that was not the API of {}; check the endpoint and proxies",
                action.service().name().to_uppercase()
            ),
        };
        if meaning == Meaning::ClockSkew
            && let Some(theirs) = date(&reply.headers)
        {
            let ours = self.clock.now();
            message = convert::clean(
                &format!("our clock says {ours}, the cloud's {theirs}: {message}"),
                TEXT_LIMIT,
            );
        }
        let request_id = error.request_id.map(|id| scrub.text(&id, REQUEST_ID_LIMIT));
        let code = code.map(|code| scrub.text(code, CODE_LIMIT));
        Err(CloudError { code, request_id, retry_after, ..failure(action, meaning, message) })
    }

    /// The list of a reply; without one it says nothing, unless it counts zero.
    fn listed(reply: wire::DescribeImageCachesReply) -> Result<Vec<wire::ImageCache>, CloudError> {
        match (reply.image_caches, reply.total_count) {
            (Some(caches), _) => Ok(caches),
            (None, Some(0)) => Ok(Vec::new()),
            (None, _) => Err(failure(
                Action::DescribeImageCaches,
                Meaning::Unknown,
                "the answer has no list of image caches",
            )),
        }
    }
}

impl Cloud for Client {
    async fn create_image_cache(&self, call: &CreateImageCache) -> Result<CreatedImageCache, CloudError> {
        let action = Action::CreateImageCache;
        let reply = self.call(action, &request::create_image_cache(&self.region, call)).await?;
        convert::created(reply).map_err(|error| failure(action, Meaning::Unknown, error.to_string()))
    }

    async fn list_image_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<ImageCacheView>, CloudError> {
        let action = Action::DescribeImageCaches;
        let params = request::list_image_caches(&self.region, tags, page);
        let mut reply: wire::DescribeImageCachesReply = self.call(action, &params).await?;
        let next = next_page(action, reply.next_token.take(), page)?;
        let caches = Self::listed(reply)?;
        let count = caches.len();
        let mut items: Vec<_> = caches.into_iter().filter_map(convert::image_cache).collect();
        let skipped = count - items.len();
        if skipped > 0 {
            tracing::warn!(skipped, "the cloud listed image caches without a usable ID: they are ignored");
        }
        // Whether the cloud joins several tags by "and" is documented nowhere.
        items.retain(|item| tags.iter().all(|(key, value)| item.tags.get(key) == Some(value)));
        Ok(Page { items, next })
    }

    async fn describe_image_cache(&self, id: &CloudId) -> Result<Option<ImageCacheView>, CloudError> {
        let action = Action::DescribeImageCaches;
        let reply = match self.call(action, &request::describe_image_cache(&self.region, id)).await {
            Err(error) if error.meaning == Meaning::NotFound => return Ok(None),
            other => other?,
        };
        let caches = Self::listed(reply)?;
        if caches.is_empty() {
            return Ok(None);
        }
        let mut views = caches.into_iter().filter_map(convert::image_cache);
        // Others instead of ours prove nothing about ours.
        views.find(|view| view.id == *id).map(Some).ok_or_else(|| {
            failure(
                action,
                Meaning::Unknown,
                format!("asked for {id}, the cloud answered with other image caches"),
            )
        })
    }

    async fn update_image_cache(&self, call: &UpdateImageCache) -> Result<(), CloudError> {
        let params = request::update_image_cache(&self.region, call);
        match self.call::<wire::AnyReply>(Action::UpdateImageCache, &params).await {
            Err(error) if error.is_refusal() && error.code.as_deref() == Some(NO_NEED_UPDATE) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete_image_cache(&self, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        let params = request::delete_image_cache(&self.region, id, token);
        self.call::<wire::AnyReply>(Action::DeleteImageCache, &params).await.map(drop)
    }

    async fn tag_image_cache(&self, id: &CloudId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        self.tag(ResourceType::ImageCache, id, tags).await
    }

    async fn untag_image_cache(&self, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        self.untag(ResourceType::ImageCache, id, keys).await
    }

    async fn create_data_cache(&self, call: &CreateDataCache) -> Result<CloudId, CloudError> {
        self.data_create(call).await
    }

    async fn list_data_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<DataCacheView>, CloudError> {
        self.data_list(tags, page).await
    }

    async fn describe_data_cache(&self, id: &CloudId) -> Result<Option<DataCacheView>, CloudError> {
        self.data_describe(id).await
    }

    async fn find_data_caches(&self, place: &Place) -> Result<Vec<DataCacheView>, CloudError> {
        self.data_at(place).await
    }

    async fn update_data_cache(&self, call: &UpdateDataCache) -> Result<(), CloudError> {
        let params = request::update_data_cache(&self.region, call);
        match self.call::<wire::AnyReply>(Action::UpdateDataCache, &params).await {
            Err(error) if error.is_refusal() && error.code.as_deref() == Some(NO_NEED_UPDATE) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete_data_cache(&self, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        let params = request::delete_data_cache(&self.region, id, token);
        self.call::<wire::AnyReply>(Action::DeleteDataCache, &params).await.map(drop)
    }

    async fn tag_data_cache(&self, id: &CloudId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        self.tag(ResourceType::DataCache, id, tags).await
    }

    async fn untag_data_cache(&self, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        self.untag(ResourceType::DataCache, id, keys).await
    }

    async fn usage(&self) -> Result<Usage, CloudError> {
        let reply = self.call(Action::ListUsage, &request::usage(&self.region)).await?;
        Ok(convert::usage(&reply))
    }
}

impl Client {
    async fn tag(
        &self,
        type_: ResourceType,
        id: &CloudId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        if tags.is_empty() {
            return Ok(());
        }
        let params = request::tag(&self.region, type_, id, tags);
        self.call::<wire::AnyReply>(Action::TagResources, &params).await.map(drop)
    }

    async fn untag(&self, type_: ResourceType, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        if keys.is_empty() {
            return Ok(());
        }
        let params = request::untag(&self.region, type_, id, keys);
        self.call::<wire::AnyReply>(Action::UntagResources, &params).await.map(drop)
    }
}

/// Where the next page begins. A page that names itself as the next one would make a list without end.
fn next_page(
    action: Action,
    token: Option<String>,
    page: Option<&PageToken>,
) -> Result<Option<PageToken>, CloudError> {
    let next = token.filter(|next| !next.is_empty() && page.is_none_or(|page| page.0 != *next));
    if next.as_ref().is_some_and(|next| next.len() > PAGE_TOKEN_LIMIT) {
        return Err(failure(action, Meaning::Unknown, "the token of the next page is too long"));
    }
    Ok(next.map(PageToken))
}

/// A call that failed, without what the cloud said.
pub(crate) fn failure(action: Action, meaning: Meaning, message: impl Into<String>) -> CloudError {
    let message = message.into();
    CloudError { action: action.name(), meaning, code: None, message, request_id: None, retry_after: None }
}

/// The request; `None` when some part of it cannot be written.
fn build(url: &str, headers: &[(&str, &str)], authorization: &str) -> Option<Request<Empty<Bytes>>> {
    const OURS: &str = concat!("eci-operator/", env!("CARGO_PKG_VERSION"));
    let mut request = Request::post(url)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, OURS)
        .header(CONTENT_LENGTH, "0");
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(*name == "x-acs-security-token");
        request = request.header(*name, value);
    }
    let mut authorization = HeaderValue::from_str(authorization).ok()?;
    authorization.set_sensitive(true);
    request.header(AUTHORIZATION, authorization).body(Empty::new()).ok()
}

/// How long the cloud asks to wait, in milliseconds on the wire; bounded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let millis: u64 = headers.get("x-acs-retry-after")?.to_str().ok()?.trim().parse().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis).min(LONGEST_HOLD))
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(headers.get(DATE)?.as_bytes()).ok()
}
