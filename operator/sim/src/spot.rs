//! The port of the spot market on the simulated world, in process.

use eci_core::cloud::CloudError;
use eci_core::spot::market::{Advice, AdviceQuery, HistoryPage, HistoryQuery, Name, PricePoint, Wanted};
use eci_core::spot::{Price, SpotMarket};

use crate::cloud::{SimCloud, unknown};
use crate::world::call::{Call, Reply};
use crate::world::market::{AdviceFilter, AdviceView, HistoryFilter, PriceView};

impl SpotMarket for SimCloud {
    async fn price_history(&self, query: &HistoryQuery, page: u32) -> Result<HistoryPage, CloudError> {
        let filter = HistoryFilter {
            network_type: "vpc".to_owned(),
            instance_type: query.instance_type.to_string(),
            zone: query.zone.as_ref().map(ToString::to_string),
            io_optimized: None,
            os_type: Some("linux".to_owned()),
            spot_duration: Some(query.protection_hours),
            from: Some(query.from),
            to: Some(query.to),
            offset: i32::try_from(page).ok(),
        };
        match self.call(Call::DescribeSpotPriceHistory(Box::new(filter))).await? {
            Reply::SpotPrices { currency, items, next_offset } => {
                let next = next_offset.and_then(|next| u32::try_from(next).ok());
                Ok(HistoryPage {
                    currency: Some(currency),
                    next: next.filter(|next| *next > page && !items.is_empty()),
                    points: items.iter().filter_map(point).collect(),
                })
            }
            _ => Err(unknown("DescribeSpotPriceHistory", "the answer belongs to another call")),
        }
    }

    async fn advice(&self, query: &AdviceQuery) -> Result<Vec<Advice>, CloudError> {
        let zone = query.zone.as_ref().map(ToString::to_string);
        let filter = match &query.wanted {
            Wanted::Size { vcpu, memory_gib } => AdviceFilter {
                cores: i32::try_from(*vcpu).ok(),
                memory: i32::try_from(*memory_gib).ok(),
                zone,
                ..AdviceFilter::default()
            },
            Wanted::Types(types) => AdviceFilter {
                instance_types: types.iter().map(ToString::to_string).collect(),
                zone,
                ..AdviceFilter::default()
            },
        };
        match self.call(Call::DescribeSpotAdvice(Box::new(filter))).await? {
            Reply::SpotAdvice { items, .. } => Ok(items.iter().filter_map(advice).collect()),
            _ => Err(unknown("DescribeSpotAdvice", "the answer belongs to another call")),
        }
    }
}

fn point(view: &PriceView) -> Option<PricePoint> {
    Some(PricePoint {
        zone: Name::parse(&view.zone)?,
        at: view.at,
        price: Price::from_micros(view.spot)?,
        pay_as_you_go: Price::from_micros(view.regular),
    })
}

fn advice(view: &AdviceView) -> Option<Advice> {
    Some(Advice {
        zone: Name::parse(&view.zone)?,
        instance_type: Name::parse(&view.instance_type)?,
        price_percent: u8::try_from(view.percent).ok(),
        interruption: u16::try_from(view.interruption).ok(),
        interruption_range: Some(view.range().to_owned()),
    })
}
