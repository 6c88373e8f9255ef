//! Data caches: the calls whose replies have to be read.

use std::collections::BTreeMap;

use eci_core::cloud::{CloudError, CloudId, CreateDataCache, DataCacheView, Meaning, Page, PageToken, Place};

use super::{Client, failure, next_page};
use crate::action::Action;
use crate::encode::Params;
use crate::{convert, request, wire};

const DESCRIBE: Action = Action::DescribeDataCaches;

impl Client {
    pub(super) async fn data_create(&self, call: &CreateDataCache) -> Result<CloudId, CloudError> {
        let action = Action::CreateDataCache;
        let params = request::create_data_cache(&self.region, call, self.map_keys);
        let reply: wire::CreateDataCacheReply = self.call(action, &params).await?;
        // Without a usable ID nobody knows what was made.
        CloudId::parse(reply.data_cache_id.as_deref().unwrap_or_default())
            .map_err(|error| failure(action, Meaning::Unknown, error.to_string()))
    }

    pub(super) async fn data_list(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<DataCacheView>, CloudError> {
        let params = request::list_data_caches(&self.region, tags, page);
        let (mut items, next) = self.data_page(&params, page).await?;
        // Whether the cloud joins several tags by "and" is documented nowhere.
        items.retain(|item| tags.iter().all(|(key, value)| item.tags.get(key) == Some(value)));
        Ok(Page { items, next })
    }

    pub(super) async fn data_describe(&self, id: &CloudId) -> Result<Option<DataCacheView>, CloudError> {
        let params = request::describe_data_caches(&self.region, [id]);
        let items = match self.data_page(&params, None).await {
            Err(error) if error.meaning == Meaning::NotFound => return Ok(None),
            other => other?.0,
        };
        if items.is_empty() {
            return Ok(None);
        }
        // Others instead of ours prove nothing about ours.
        items.into_iter().find(|view| view.id == *id).map(Some).ok_or_else(|| {
            failure(
                DESCRIBE,
                Meaning::Unknown,
                format!("asked for {id}, the cloud answered with other data caches"),
            )
        })
    }

    pub(super) async fn data_at(&self, place: &Place) -> Result<Vec<DataCacheView>, CloudError> {
        let params = request::find_data_caches(&self.region, place);
        let mut items = match self.data_page(&params, None).await {
            Err(error) if error.meaning == Meaning::NotFound => Vec::new(),
            other => other?.0,
        };
        // Whether the cloud joins bucket and path by "and" is documented nowhere.
        items.retain(|item| item.place == *place);
        Ok(items)
    }

    /// One page, and where the next one begins. A reply without a list says nothing, unless it counts zero.
    async fn data_page(
        &self,
        params: &Params,
        page: Option<&PageToken>,
    ) -> Result<(Vec<DataCacheView>, Option<PageToken>), CloudError> {
        let mut reply: wire::DescribeDataCachesReply = self.call(DESCRIBE, params).await?;
        let next = next_page(DESCRIBE, reply.next_token.take(), page)?;
        let caches = match (reply.data_caches, reply.total_count) {
            (Some(caches), _) => caches,
            (None, Some(0)) => Vec::new(),
            (None, _) => {
                return Err(failure(DESCRIBE, Meaning::Unknown, "the answer has no list of data caches"));
            }
        };
        let count = caches.len();
        let items: Vec<_> = caches.into_iter().filter_map(convert::data_cache).collect();
        let skipped = count - items.len();
        if skipped > 0 {
            tracing::warn!(skipped, "the cloud listed data caches without a usable ID: they are ignored");
        }
        Ok((items, next))
    }
}
