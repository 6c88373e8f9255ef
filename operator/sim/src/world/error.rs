//! Refusals of the cloud.

/// A refusal: the vendor's code, its HTTP status and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} (HTTP {status}): {message}")]
pub struct ApiError {
    /// The vendor's code, such as `QuotaExceeded`.
    pub code: String,
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// For people.
    pub message: String,
    /// Milliseconds that the cloud asks to wait.
    pub retry_after_ms: Option<u64>,
}

impl ApiError {
    /// A refusal with the status that is documented for the code.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let code = code.into();
        Self { status: documented_status(&code), code, message: message.into(), retry_after_ms: None }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!(
                "The input parameter {parameter} that is mandatory for processing this request is not supplied."
            ),
        )
    }

    pub(crate) fn invalid(parameter: &str, why: &str) -> Self {
        Self::new("InvalidParameter", format!("The specified parameter {parameter} is not valid: {why}."))
    }
}

/// The HTTP status of a code: the tables of the API's metadata, then what the gateway does by rule. Throttling is
/// documented as 400 and quota as 403.
pub(crate) fn documented_status(code: &str) -> u16 {
    match code {
        "OperationDenied.VswZoneMisMatch"
        | "OperationDenied.SecurityGroupMisMatch"
        | "OperationDenied.NoStock"
        | "InvalidVSwitchId.IpNotEnough"
        | "QuotaExceeded"
        | "Zone.NotOnSale"
        | "InvalidUser.PassRoleForbidden"
        | "NoPermission"
        | "SecurityRisk.3DVerification"
        | "CreateServiceLinkedRole.Denied"
        | "InvalidAccessKeyId.Inactive"
        | "InvalidParam.TypeAndCpuMem.Conflict"
        | "InvalidParam.Cores"
        | "InvalidParam.Memory"
        | "InvalidUserType.NotSupported"
        | "Abs.InvalidAccount.NotFound"
        // The vendor's spelling.
        | "Forbedden.NotSupportRAM"
        | "Forbbiden.SubUser" => 403,
        // Documented so for the prices of spot instances.
        "InvalidZoneId.NotFound" => 400,
        "Invalid.RegionId" | "Unavailable.Regions" => 404,
        "InternalError" => 500,
        "ServiceUnavailable" => 503,
        _ if code.starts_with("Forbidden.") => 403,
        _ if code.ends_with(".NotFound") => 404,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_documented_status() {
        for (code, status) in [
            ("QuotaExceeded", 403),
            ("Throttling", 400),
            ("Throttling.User", 400),
            ("NoNeedUpdate", 400),
            ("ImageCache.IncorrectStatus", 400),
            ("Account.Arrearage", 400),
            ("Forbidden.SubUser", 403),
            ("InvalidAction.NotFound", 404),
            ("InvalidAccessKeyId.NotFound", 404),
            ("InternalError", 500),
            ("ServiceUnavailable", 503),
        ] {
            assert_eq!(documented_status(code), status, "{code}");
        }
    }
}
