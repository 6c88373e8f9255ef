//! The client of the network, and the port in process: the same answers about the same vSwitches.

use eci_aliyun::NetworkClient;
use eci_core::network::Network as _;
use eci_sim::Settings;
use eci_sim::world::network::VSwitch;

use crate::twins::{self, Twins};

#[tokio::test]
async fn every_vswitch_is_seen_page_by_page() {
    let one = |n: usize| VSwitch {
        id: format!("vsw-{n:03}"),
        zone: if n.is_multiple_of(2) { "a".into() } else { "b".into() },
        vpc: "vpc-1".into(),
        free: i64::try_from(n).unwrap() - 1,
        pending: n == 7,
    };
    let settings = Settings { v_switches: (0..101).map(one).collect(), ..Settings::default() };
    let twins = Twins::new(settings).await;
    let client = NetworkClient::new(twins::config(&twins.http, &twins.served, None)).unwrap();
    let (mut seen, mut next) = (Vec::new(), Some(1));
    while let Some(page) = next {
        let over_http = client.v_switches(page).await.unwrap();
        let in_process = twins.in_process().v_switches(page).await.unwrap();
        assert_eq!(over_http, in_process, "the client (left) and the port in process (right)");
        next = over_http.next;
        seen.extend(over_http.items);
    }
    assert_eq!(seen.len(), 101);
    assert_eq!((seen[0].free, seen[2].free), (Some(0), Some(1)), "less than nothing is nothing");
    assert!(!seen[7].available && seen[8].available);
    assert_eq!(seen[1].zone.as_ref().unwrap().as_str(), "cn-hangzhou-b");
}
