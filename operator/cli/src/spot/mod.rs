//! `kubectl eci spot advise`.

mod ask;
mod show;

use eci_aliyun::clock::{Clock as _, SystemClock};
use eci_api::spot_sizes::{self, SpotSize};

use crate::args::{AdviseArgs, Output};
use crate::cloud;
use crate::error::Error;
use crate::size::GIB;
use ask::Question;

/// Asks the market and says what it advises.
pub(crate) async fn advise(args: &AdviseArgs) -> Result<String, Error> {
    let question = question(args)?;
    let market = cloud::market(&args.cloud)?;
    let found = ask::ask(&market, question, SystemClock.now()).await?;
    match args.output {
        Output::Table => Ok(show::table(&found, &args.cloud.region)),
        Output::Json => {
            Ok(format!("{}\n", serde_json::to_string_pretty(&show::json(&found, &args.cloud.region))?))
        }
    }
}

fn question(args: &AdviseArgs) -> Result<Question, Error> {
    let asked = args.vcpu.zip(args.memory);
    let size = asked.map(|(vcpu, memory)| {
        spot_sizes::billed(vcpu.0, memory.0).ok_or_else(|| {
            let largest = spot_sizes::TABLE.last().map_or((0, 0), |(vcpu, gib)| (*vcpu, *gib.last().unwrap_or(&0)));
            Error::Size(format!(
                "no spot instance by vCPU and memory is that large: the largest has {} vCPU and {} GiB; name instance types with --instance-type",
                largest.0, largest.1
            ))
        })
    });
    let size: Option<SpotSize> = size.transpose()?;
    let rounded = size.zip(asked).is_some_and(|(size, (vcpu, memory))| {
        u64::from(size.vcpu) * 1_000 != vcpu.0 || u64::from(size.memory_gib) * GIB != memory.0
    });
    Ok(Question {
        size,
        rounded,
        types: args.instance_types.clone(),
        most_types: usize::from(args.types),
        zone: args.zone.clone(),
        protection_hours: args.protection_hours,
        limit: args.price_limit,
    })
}
