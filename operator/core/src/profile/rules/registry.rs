//! Hosts of Container Registry, public and in the VPC (vendor's documentation of both editions).

use super::quote;

/// The host in the VPC of an image that is named by a public host of Container Registry; `None` for all others, and for
/// images of another region than `region` if that is known, which a VPC does not reach.
pub(super) fn in_vpc(image: &str, region: Option<&str>) -> Option<(String, String)> {
    let host = image.split_once('/')?.0;
    // registry.REGION.aliyuncs.com, registry.REGION.cr.aliyuncs.com, NAME-registry.REGION.cr.aliyuncs.com and
    // NAME.REGION.personal.cr.aliyuncs.com
    let (first, rest) = host.split_once('.')?;
    let of = rest
        .strip_suffix(".personal.cr.aliyuncs.com")
        .filter(|_| first.starts_with("crpi-"))
        .or_else(|| rest.strip_suffix(".cr.aliyuncs.com").filter(|_| is_registry(first)))
        .or_else(|| rest.strip_suffix(".aliyuncs.com").filter(|_| first == "registry"))?;
    let elsewhere = region.is_some_and(|region| region != of);
    (!of.contains('.') && !first.ends_with("-vpc") && !elsewhere)
        .then(|| (quote(host), format!("{}-vpc.{}", quote(first), quote(rest))))
}

fn is_registry(first: &str) -> bool {
    first == "registry" || first.ends_with("-registry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_hosts_have_a_counterpart_in_the_vpc() {
        for (image, region, expected) in [
            ("registry.cn-beijing.aliyuncs.com/a/b:1", None, Some("registry-vpc.cn-beijing.aliyuncs.com")),
            (
                "registry.cn-beijing.aliyuncs.com/a/b",
                Some("cn-beijing"),
                Some("registry-vpc.cn-beijing.aliyuncs.com"),
            ),
            ("registry.cn-beijing.aliyuncs.com/a/b", Some("cn-hangzhou"), None),
            (
                "registry.cn-beijing.cr.aliyuncs.com/a/b",
                None,
                Some("registry-vpc.cn-beijing.cr.aliyuncs.com"),
            ),
            (
                "shop-registry.cn-hangzhou.cr.aliyuncs.com/a/b@sha256:0",
                None,
                Some("shop-registry-vpc.cn-hangzhou.cr.aliyuncs.com"),
            ),
            (
                "crpi-1.cn-hangzhou.personal.cr.aliyuncs.com/a/b",
                None,
                Some("crpi-1-vpc.cn-hangzhou.personal.cr.aliyuncs.com"),
            ),
            ("registry-vpc.cn-beijing.aliyuncs.com/a/b", None, None),
            ("shop-registry-vpc.cn-hangzhou.cr.aliyuncs.com/a/b", None, None),
            ("crpi-1-vpc.cn-hangzhou.personal.cr.aliyuncs.com/a/b", None, None),
            ("registry.example.com/a/b", None, None),
            ("oss.cn-beijing.aliyuncs.com/a", None, None),
            ("nginx", None, None),
        ] {
            assert_eq!(in_vpc(image, region).map(|(_, vpc)| vpc).as_deref(), expected, "{image}");
        }
    }
}
