//! What the vendor's codes mean. The one place that knows them.

use eci_core::cloud::Meaning;

use crate::action::{Action, Service};

/// The code of an update that would change nothing.
pub const NO_NEED_UPDATE: &str = "NoNeedUpdate";

/// What an answer that is no success means.
///
/// A 5xx is [`Meaning::Unknown`] whatever its code says, since the layer that wrote the code need not be the one that
/// knows about the effect. `told_to_wait` is whether the answer had a retry-after header, which the vendor's libraries
/// take for throttling.
///
/// Codes are those of the API's metadata; those of the gateway, which every product of the vendor shares, are common
/// knowledge and not in the metadata.
pub fn meaning(action: Action, status: u16, code: Option<&str>, told_to_wait: bool) -> Meaning {
    // 408 and 499: a proxy gave up on a request that it may have passed on.
    if !(400..500).contains(&status) || status == 408 || status == 499 {
        return Meaning::Unknown;
    }
    if let Some(meaning) = code.and_then(|code| meaning_of_code(action, code)) {
        return meaning;
    }
    if status == 429 || told_to_wait { Meaning::Throttled } else { Meaning::Invalid }
}

/// Whether the code says that there were too many calls, whatever the status.
pub fn is_throttling(code: &str) -> bool {
    code.starts_with("Throttling") && !is_daily_quota(code)
}

fn is_daily_quota(code: &str) -> bool {
    code.starts_with("Throttling") && code.ends_with(".PerDay")
}

fn meaning_of_code(action: Action, code: &str) -> Option<Meaning> {
    if action.service() == Service::Ecs
        && let Some(meaning) = meaning_of_market_code(code)
    {
        return Some(meaning);
    }
    Some(match code {
        "Account.Arrearage" => Meaning::Arrears,
        "ServiceNotEnabled"
        | "ImageCacheNotSupport"
        | "FeatureAccessRestricted"
        | "Forbidden.AccountClosed"
        | "Forbidden.OnlyForInvitedTest"
        | "Forbidden.RiskControl"
        // The vendor's spelling.
        | "Forbidden.UserBussinessStatus"
        | "Forbidden.UserNotRealNameAuthentication"
        | "SecurityRisk.3DVerification" => Meaning::AccountRestricted,
        "NoPermission"
        | "Forbidden.RAM"
        | "Forbidden.SubUser"
        | "InvalidUser.PassRoleForbidden"
        | "CreateServiceLinkedRole.Denied" => Meaning::Denied,
        "IncorrectStatus" | "ImageCache.IncorrectStatus" | "IncorrectOperation" | "OperationConflict" => {
            Meaning::Busy
        }
        "InvalidVSwitchId.IpNotEnough" | "EipAddressPoolIpNotEnough" => Meaning::NoAddress,
        "SignatureDoesNotMatch" | "IncompleteSignature" | "MissingSecurityToken" => Meaning::BadCredentials,
        // An earlier copy of this request may yet have its effect: nonces are random, so a used one means that the
        // request arrived twice; and a token in processing, that the answer to its first request is still to come.
        "SignatureNonceUsed" | "IdempotentProcessing" => Meaning::Unknown,
        _ if is_daily_quota(code) || code.starts_with("QuotaExceed") => Meaning::QuotaExceeded,
        _ if is_throttling(code) => Meaning::Throttled,
        _ if code == "NoStock" || code.ends_with(".NoStock") => Meaning::NoStock,
        _ if code.starts_with("InvalidTimeStamp") => Meaning::ClockSkew,
        _ if code.starts_with("InvalidAccessKeyId") || code.starts_with("InvalidSecurityToken") => {
            Meaning::BadCredentials
        }
        // Not documented for ECI; the codes of ECS, whose gateway it shares.
        _ if code.starts_with("Idempotent") || code.starts_with("Idempotence") => Meaning::TokenMismatch,
        _ if is_own_object_missing(action, code) => Meaning::NotFound,
        _ => return None,
    })
}

/// What only the actions of the spot market say; the spelling is the vendor's.
fn meaning_of_market_code(code: &str) -> Option<Meaning> {
    Some(match code {
        "Forbedden.NotSupportRAM" | "Forbbiden.SubUser" => Meaning::Denied,
        "InvalidUserType.NotSupported" | "Abs.InvalidAccount.NotFound" => Meaning::AccountRestricted,
        // "The query failed, try again": nothing was asked to change.
        "OperationDenied.QueryFail" => Meaning::Unknown,
        _ => return None,
    })
}

/// Whether the code says that the object of the call is gone. Which code says so is documented nowhere; a missing
/// region, action or vSwitch must not pass for it, or a wrong configuration would look like a finished deletion.
fn is_own_object_missing(action: Action, code: &str) -> bool {
    const ABOUT_OTHER_THINGS: [&str; 12] = [
        "InvalidAction",
        "InvalidApi",
        "InvalidVersion",
        "InvalidProduct",
        "InvalidRegion",
        "InvalidZone",
        "InvalidVSwitch",
        "InvalidSecurityGroup",
        "InvalidResourceGroup",
        "InvalidEip",
        "InvalidUser",
        "InvalidAccount",
    ];
    // The market has no objects: what is missing there is a zone, a type or a region.
    !action.is_create()
        && action.service() == Service::Eci
        && code.ends_with("NotFound")
        && !ABOUT_OTHER_THINGS.iter().any(|other| code.starts_with(other))
}

#[cfg(test)]
mod tests {
    use Action::{CreateImageCache as Create, DeleteImageCache as Delete};

    use super::*;

    #[test]
    fn documented_codes_have_their_meaning() {
        for (status, code, expected) in [
            (400, "Account.Arrearage", Meaning::Arrears),
            (400, "InvalidParameter.CPU.Memory", Meaning::Invalid),
            (400, "IncorrectStatus", Meaning::Busy),
            (400, "ImageCache.IncorrectStatus", Meaning::Busy),
            (400, "ServiceNotEnabled", Meaning::AccountRestricted),
            (400, "DiskVolume.NotSupport", Meaning::Invalid),
            (400, "ImageCacheNotSupport", Meaning::AccountRestricted),
            (400, "EipAddressPoolIpNotEnough", Meaning::NoAddress),
            (400, "OperationConflict", Meaning::Busy),
            (403, "OperationDenied.VswZoneMisMatch", Meaning::Invalid),
            (403, "OperationDenied.SecurityGroupMisMatch", Meaning::Invalid),
            (403, "InvalidVSwitchId.IpNotEnough", Meaning::NoAddress),
            (403, "QuotaExceeded", Meaning::QuotaExceeded),
            (403, "Zone.NotOnSale", Meaning::Invalid),
            (403, "OperationDenied.NoStock", Meaning::NoStock),
            (403, "Forbidden.RiskControl", Meaning::AccountRestricted),
            (403, "Forbidden.SubUser", Meaning::Denied),
            (403, "Forbidden.UserBussinessStatus", Meaning::AccountRestricted),
            (403, "InvalidUser.PassRoleForbidden", Meaning::Denied),
            (403, "NoPermission", Meaning::Denied),
            (403, "CreateServiceLinkedRole.Denied", Meaning::Denied),
            (400, "Throttling", Meaning::Throttled),
            (403, "Throttling.Vcpu.PerDay", Meaning::QuotaExceeded),
        ] {
            assert_eq!(meaning(Create, status, Some(code), false), expected, "{code}");
        }
    }

    #[test]
    fn codes_of_the_gateway_have_their_meaning() {
        for (status, code, expected) in [
            (429, "Throttling.User", Meaning::Throttled),
            (400, "Throttling.Api", Meaning::Throttled),
            (400, "InvalidTimeStamp.Expired", Meaning::ClockSkew),
            (400, "SignatureDoesNotMatch", Meaning::BadCredentials),
            (404, "InvalidAccessKeyId.NotFound", Meaning::BadCredentials),
            (403, "InvalidAccessKeyId.Inactive", Meaning::BadCredentials),
            (403, "InvalidSecurityToken.Expired", Meaning::BadCredentials),
            (403, "Forbidden.RAM", Meaning::Denied),
            (404, "InvalidAction.NotFound", Meaning::Invalid),
            (400, "IdempotentParameterMismatch", Meaning::TokenMismatch),
            (400, "MissingParameter", Meaning::Invalid),
            (400, "SignatureNonceUsed", Meaning::Unknown),
        ] {
            assert_eq!(meaning(Create, status, Some(code), false), expected, "{code}");
            assert_eq!(meaning(Delete, status, Some(code), false), expected, "{code}");
        }
    }

    #[test]
    fn codes_of_the_spot_market_have_their_meaning() {
        for (status, code, expected) in [
            (400, "InvalidParams.StartTime", Meaning::Invalid),
            (400, "InvalidZoneId.NotFound", Meaning::Invalid),
            (400, "InvalidInstanceType.ValueNotSupported", Meaning::Invalid),
            (400, "OperationDenied.QueryFail", Meaning::Unknown),
            (403, "InvalidUserType.NotSupported", Meaning::AccountRestricted),
            (403, "Abs.InvalidAccount.NotFound", Meaning::AccountRestricted),
            (403, "Forbedden.NotSupportRAM", Meaning::Denied),
            (403, "Forbbiden.SubUser", Meaning::Denied),
            (403, "Forbidden.RAM", Meaning::Denied),
            (403, "InvalidParam.TypeAndCpuMem.Conflict", Meaning::Invalid),
            (404, "Invalid.RegionId", Meaning::Invalid),
            (404, "InvalidInstanceType.NotFound", Meaning::Invalid),
            (400, "Throttling.User", Meaning::Throttled),
        ] {
            for action in [Action::DescribeSpotPriceHistory, Action::DescribeSpotAdvice] {
                assert_eq!(meaning(action, status, Some(code), false), expected, "{code}");
            }
        }
        assert_eq!(meaning(Delete, 403, Some("Abs.InvalidAccount.NotFound"), false), Meaning::NotFound);
    }

    #[test]
    fn unknown_codes_go_by_the_status() {
        for (status, expected) in [
            (400, Meaning::Invalid),
            (403, Meaning::Invalid),
            (404, Meaning::Invalid),
            (408, Meaning::Unknown),
            (429, Meaning::Throttled),
            (499, Meaning::Unknown),
            (500, Meaning::Unknown),
            (503, Meaning::Unknown),
            (302, Meaning::Unknown),
        ] {
            assert_eq!(meaning(Create, status, Some("Brand.New"), false), expected, "{status}");
            assert_eq!(meaning(Create, status, None, false), expected, "{status}");
        }
        assert_eq!(meaning(Create, 400, Some("Brand.New"), true), Meaning::Throttled);
    }

    #[test]
    fn a_5xx_is_unknown_whatever_its_code() {
        for code in ["Throttling", "NoPermission", "QuotaExceeded", "InvalidParameter", "ServiceUnavailable"]
        {
            assert_eq!(meaning(Create, 503, Some(code), true), Meaning::Unknown, "{code}");
        }
    }

    #[test]
    fn only_the_missing_object_itself_is_not_found() {
        for code in ["ImageCache.NotFound", "InvalidParameter.NotFound", "InvalidImageCacheId.NotFound"] {
            assert_eq!(meaning(Delete, 404, Some(code), false), Meaning::NotFound, "{code}");
            assert_eq!(meaning(Create, 404, Some(code), false), Meaning::Invalid, "{code}");
        }
        for code in ["InvalidRegionId.NotFound", "InvalidVSwitchId.NotFound", "InvalidAction.NotFound"] {
            assert_eq!(meaning(Delete, 404, Some(code), false), Meaning::Invalid, "{code}");
        }
        assert_eq!(meaning(Delete, 404, None, false), Meaning::Invalid, "a 404 of some proxy");
    }
}
