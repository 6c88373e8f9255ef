//! Every code that the vendor documents, and those of the gateway in front of all its products, on the wire with the
//! documented status.

use eci_core::cloud::{CloudId, Meaning};
use eci_sim::Settings;
use eci_sim::faults::Fault;

use crate::twins::{Call, Twins, keep_for, small, tags, token};

/// Codes of the actions that write image caches.
const WRITES: [(&str, Meaning); 26] = [
    ("Account.Arrearage", Meaning::Arrears),
    ("DryRunOperation", Meaning::Invalid),
    ("InvalidParameter.CPU.Memory", Meaning::Invalid),
    ("IncorrectStatus", Meaning::Busy),
    ("ImageCache.IncorrectStatus", Meaning::Busy),
    ("ServiceNotEnabled", Meaning::AccountRestricted),
    ("DiskVolume.NotSupport", Meaning::Invalid),
    ("RamRole.NotSupport", Meaning::Invalid),
    ("ImageCacheNotSupport", Meaning::AccountRestricted),
    ("EipAddressPoolIpNotEnough", Meaning::NoAddress),
    ("OperationConflict", Meaning::Busy),
    ("OperationDenied.VswZoneMisMatch", Meaning::Invalid),
    ("OperationDenied.SecurityGroupMisMatch", Meaning::Invalid),
    ("InvalidVSwitchId.IpNotEnough", Meaning::NoAddress),
    ("QuotaExceeded", Meaning::QuotaExceeded),
    ("Zone.NotOnSale", Meaning::Invalid),
    ("OperationDenied.NoStock", Meaning::NoStock),
    ("Forbidden.RiskControl", Meaning::AccountRestricted),
    ("Forbidden.SubUser", Meaning::Denied),
    ("Forbidden.OnlyForInvitedTest", Meaning::AccountRestricted),
    ("Forbidden.UserBussinessStatus", Meaning::AccountRestricted),
    ("Forbidden.UserNotRealNameAuthentication", Meaning::AccountRestricted),
    ("InvalidUser.PassRoleForbidden", Meaning::Denied),
    ("NoPermission", Meaning::Denied),
    ("SecurityRisk.3DVerification", Meaning::AccountRestricted),
    ("CreateServiceLinkedRole.Denied", Meaning::Denied),
];

/// Codes of DescribeImageCaches.
const READS: [(&str, Meaning); 7] = [
    ("Account.Arrearage", Meaning::Arrears),
    ("DryRunOperation", Meaning::Invalid),
    ("ServiceNotEnabled", Meaning::AccountRestricted),
    ("Forbidden.SubUser", Meaning::Denied),
    ("Forbidden.UserBussinessStatus", Meaning::AccountRestricted),
    ("Forbidden.UserNotRealNameAuthentication", Meaning::AccountRestricted),
    ("NoPermission", Meaning::Denied),
];

/// Codes that any action may answer with. (Those that leave the outcome unknown are in `lost`.)
const ANY: [(&str, Meaning); 18] = [
    ("Throttling", Meaning::Throttled),
    ("Throttling.User", Meaning::Throttled),
    ("Throttling.Api", Meaning::Throttled),
    ("Throttling.Vcpu.PerDay", Meaning::QuotaExceeded),
    ("MissingParameter", Meaning::Invalid),
    ("MissingImage", Meaning::Invalid),
    ("InvalidParameter", Meaning::Invalid),
    ("InvalidTimeStamp.Expired", Meaning::ClockSkew),
    ("SignatureDoesNotMatch", Meaning::BadCredentials),
    ("IncompleteSignature", Meaning::BadCredentials),
    ("InvalidAccessKeyId.NotFound", Meaning::BadCredentials),
    ("InvalidAccessKeyId.Inactive", Meaning::BadCredentials),
    ("InvalidSecurityToken.Expired", Meaning::BadCredentials),
    ("InvalidSecurityToken.Malformed", Meaning::BadCredentials),
    ("Forbidden.RAM", Meaning::Denied),
    ("InvalidAction.NotFound", Meaning::Invalid),
    ("InvalidRegionId.NotFound", Meaning::Invalid),
    ("UnsupportedHTTPMethod", Meaning::Invalid),
];

async fn check(twins: &Twins, calls: &[Call], codes: &[(&str, Meaning)]) {
    for (code, meaning) in codes {
        for call in calls {
            twins.fault(&Fault::refused(code).times(1));
            let failure = twins.refused(call).await;
            assert_eq!((failure.meaning, failure.code.as_deref()), (*meaning, Some(*code)), "{call:?}");
        }
    }
    assert_eq!(twins.ledger().len(), 0, "a refusal has no effect");
}

fn unknown() -> CloudId {
    CloudId::parse("imc-unknown").unwrap()
}

#[tokio::test]
async fn documented_codes_of_writes_have_their_meaning() {
    let twins = Twins::new(Settings::default()).await;
    let calls = [Call::Create(Box::new(small("token"))), Call::Update(keep_for(&unknown(), "update", 3))];
    check(&twins, &calls, &WRITES).await;
}

#[tokio::test]
async fn documented_codes_of_reads_have_their_meaning() {
    let twins = Twins::new(Settings::default()).await;
    check(&twins, &[Call::List(tags([]), None), Call::Describe(unknown())], &READS).await;
}

#[tokio::test]
async fn codes_of_the_gateway_have_their_meaning_for_every_action() {
    let twins = Twins::new(Settings::default()).await;
    let calls = [
        Call::Create(Box::new(small("token"))),
        Call::List(tags([]), None),
        Call::Describe(unknown()),
        Call::Update(keep_for(&unknown(), "update", 3)),
        Call::Delete(unknown(), token("delete")),
        Call::Tag(unknown(), tags([("k", "v")])),
        Call::Untag(unknown(), vec!["k".to_owned()]),
        Call::Usage,
    ];
    check(&twins, &calls, &ANY).await;
}

#[tokio::test]
async fn a_used_nonce_leaves_the_outcome_unknown() {
    let twins = Twins::new(Settings::default()).await;
    for call in [Call::Create(Box::new(small("token"))), Call::Delete(unknown(), token("delete"))] {
        twins.fault(&Fault::refused("SignatureNonceUsed").times(1));
        assert_eq!(twins.refused(&call).await.meaning, Meaning::Unknown, "{call:?}");
    }
}

#[tokio::test]
async fn an_update_without_need_is_done() {
    let twins = Twins::new(Settings::default()).await;
    twins.fault(&Fault::refused("NoNeedUpdate").times(1));
    twins.ask(&Call::Update(keep_for(&unknown(), "update", 3))).await.unwrap();
}

#[tokio::test]
async fn what_a_create_does_not_find_is_not_the_cache() {
    let twins = Twins::new(Settings::default()).await;
    for code in ["InvalidParameter.NotFound", "InvalidVSwitchId.NotFound", "InvalidSecurityGroupId.NotFound"]
    {
        twins.fault(&Fault::refused(code).times(1));
        let failure = twins.refused(&Call::Create(Box::new(small("token")))).await;
        assert_eq!(failure.meaning, Meaning::Invalid, "{code}");
    }
}
