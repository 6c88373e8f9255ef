//! Where the API of a region is.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

use crate::action::Service;

/// Regions whose host of ECI is not named after them (endpoint list of the API's metadata).
const EXCEPTIONS: [(&str, &str); 2] =
    [("cn-shanghai-finance-1", "cn-shanghai-finance"), ("cn-shenzhen-finance-1", "cn-shenzhen-finance")];

/// Scheme, host and port of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    authority: String,
}

/// The text is not an endpoint, or not one that secrets may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Not a region.
    #[error(
        "the region is not a name of a-z, 0-9 and - with at most 64 characters; use one such as cn-hangzhou"
    )]
    Region,
    /// Not a host.
    #[error("the endpoint is not a host such as eci.cn-hangzhou.aliyuncs.com, without user, path and query")]
    NotAHost,
    /// Plain HTTP to another machine.
    #[error(
        "the endpoint uses plain http, which is allowed to this machine only, since requests carry registry passwords; use https"
    )]
    PlainHttp,
}

impl Endpoint {
    /// The vendor's endpoint of a service in a region, on the Internet or inside a VPC. Which regions have one inside a
    /// VPC is listed on the service's endpoint page, as is the rule for hosts.
    pub fn of_region(service: Service, region: &str, vpc: bool) -> Result<Self, BadEndpoint> {
        check_region(region)?;
        let exception = EXCEPTIONS.iter().find(|(id, _)| *id == region && service == Service::Eci);
        let name = exception.map_or(region, |(_, name)| name);
        let network = if vpc { "-vpc" } else { "" };
        Ok(Self { https: true, authority: format!("{}{network}.{name}.aliyuncs.com", service.name()) })
    }

    /// Reads `host`, `host:port`, `https://host` or, for a loopback address, `http://host:port`.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let uri: Uri = url.parse().map_err(|_| BadEndpoint::NotAHost)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(BadEndpoint::NotAHost),
        };
        let authority = uri.authority().ok_or(BadEndpoint::NotAHost)?;
        let plain =
            !authority.as_str().contains('@') && matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !plain || authority.host().is_empty() {
            return Err(BadEndpoint::NotAHost);
        }
        if !https && !is_loopback(authority.host()) {
            return Err(BadEndpoint::PlainHttp);
        }
        Ok(Self { https, authority: authority.as_str().to_owned() })
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.parse::<http::uri::Authority>();
        host.is_ok_and(|authority| is_loopback(authority.host()))
    }

    /// Whether it is spoken to by TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Host, and port when one was given: the value of the `host` header, which is signed.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }
}

/// Checks the name of a region, which becomes part of a host and of every request.
pub fn check_region(region: &str) -> Result<(), BadEndpoint> {
    let fits = (1..=64).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(()) } else { Err(BadEndpoint::Region) }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_after_their_region_with_two_exceptions() {
        let url = |region, vpc| Endpoint::of_region(Service::Eci, region, vpc).unwrap().to_string();
        assert_eq!(url("cn-hangzhou", false), "https://eci.cn-hangzhou.aliyuncs.com");
        assert_eq!(url("cn-hangzhou", true), "https://eci-vpc.cn-hangzhou.aliyuncs.com");
        assert_eq!(url("cn-shanghai-finance-1", false), "https://eci.cn-shanghai-finance.aliyuncs.com");
        assert_eq!(url("cn-shenzhen-finance-1", false), "https://eci.cn-shenzhen-finance.aliyuncs.com");
        let url = |region, vpc| Endpoint::of_region(Service::Ecs, region, vpc).unwrap().to_string();
        assert_eq!(url("cn-hangzhou", false), "https://ecs.cn-hangzhou.aliyuncs.com");
        assert_eq!(url("cn-hangzhou", true), "https://ecs-vpc.cn-hangzhou.aliyuncs.com");
    }

    #[test]
    fn a_region_cannot_smuggle_in_another_host() {
        for region in ["", "evil.example.com/", "cn hangzhou", "CN", "a@b", &"a".repeat(65)] {
            assert_eq!(
                Endpoint::of_region(Service::Eci, region, false),
                Err(BadEndpoint::Region),
                "{region}"
            );
        }
    }

    #[test]
    fn a_host_alone_means_https() {
        let endpoint = Endpoint::parse("eci.example.com:8443").unwrap();
        assert!(endpoint.is_https());
        assert_eq!(endpoint.authority(), "eci.example.com:8443");
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for text in ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080/"] {
            assert!(!Endpoint::parse(text).unwrap().is_https(), "{text}");
        }
        for text in ["http://eci.cn-hangzhou.aliyuncs.com", "http://127.0.0.1.example.com", "http://10.0.0.1"]
        {
            assert_eq!(Endpoint::parse(text), Err(BadEndpoint::PlainHttp), "{text}");
        }
    }

    #[test]
    fn anything_but_scheme_host_and_port_is_refused() {
        for text in ["", "https://", "ftp://a", "https://a/b", "https://a/?b=c", "https://u:p@a", "a b"] {
            assert_eq!(Endpoint::parse(text), Err(BadEndpoint::NotAHost), "{text}");
        }
    }
}
