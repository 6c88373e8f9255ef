//! The port of the network on the simulated world, in process.

use eci_core::cloud::{CloudError, CloudId};
use eci_core::network::{Network, PAGE_SIZE, VSwitch, VSwitchPage};

use crate::cloud::{SimCloud, unknown};
use crate::world::call::{Call, Reply};
use crate::world::network::VSwitchFilter;

impl Network for SimCloud {
    async fn v_switches(&self, page: u32) -> Result<VSwitchPage, CloudError> {
        let filter = VSwitchFilter {
            page: i32::try_from(page).ok(),
            page_size: i32::try_from(PAGE_SIZE).ok(),
            ..VSwitchFilter::default()
        };
        match self.call(Call::DescribeVSwitches(Box::new(filter))).await? {
            Reply::VSwitches { region, items, total, page, page_size } => {
                let shown = i64::from(page) * i64::from(page_size);
                let more = !items.is_empty() && i64::try_from(total).is_ok_and(|total| total > shown);
                let id = |text: &str| CloudId::parse(text).ok();
                let items = items.iter().filter_map(|switch| {
                    Some(VSwitch {
                        id: id(&switch.id)?,
                        zone: id(&format!("{region}-{}", switch.zone)),
                        vpc: id(&switch.vpc),
                        free: Some(switch.free.max(0)),
                        available: !switch.pending,
                    })
                });
                let next = if more { u32::try_from(page + 1).ok() } else { None };
                Ok(VSwitchPage { items: items.collect(), next })
            }
            _ => Err(unknown("DescribeVSwitches", "the answer belongs to another call")),
        }
    }
}
