use super::*;
use proptest::prelude::*;

fn pod(annotations: &[(&str, &str)]) -> BTreeMap<String, String> {
    annotations.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The findings of a pod with these annotations, whose names lack the prefix, as sentences without it.
fn says(annotations: &[(&str, &str)]) -> Vec<String> {
    let full: BTreeMap<String, String> =
        annotations.iter().map(|(name, text)| (format!("{PREFIX}{name}"), (*text).to_owned())).collect();
    check(&full).iter().map(|finding| finding.to_string().replace(PREFIX, "")).collect()
}

/// Every annotation that users write: values that are documented, and values that are not.
const DOCUMENTED: &[(&str, &[&str], &[&str])] = &[
    (
        "k8s.aliyun.com/eci-vswitch",
        &["vsw-1", "vsw-1,vsw-2"],
        &["", "vsw-1, vsw-2", "vsw-", "sg-1", "vsw-1,"],
    ),
    ("k8s.aliyun.com/eci-schedule-strategy", &["VSwitchOrdered", "VSwitchRandom"], &["vswitchordered", ""]),
    (
        "k8s.aliyun.com/eci-use-specs",
        &["2-4Gi,4-8Gi,ecs.c6.xlarge", "0.5-1Gi", "ecs.gn6i-c4g1.xlarge"],
        &["2c4g", "2-4", "ecs.c6", "2-4Gi;4-8Gi", "", "1.2.3-4Gi", "a-4Gi"],
    ),
    ("k8s.aliyun.com/eci-instance-family", &["ecs.c6,ecs.g6"], &["", "ecs.c6, ecs.g6", "ecs.c6,"]),
    ("k8s.aliyun.com/eci-instance-generation", &["6,5", "7"], &["six", "", "6;5", "6,"]),
    (
        "k8s.aliyun.com/eci-compute-category",
        &["economy", "general,economy"],
        &["Economy", "cheap", "economy,"],
    ),
    ("k8s.aliyun.com/eci-gpu-driver-version", &["tesla=525.85.12"], &["525.85.12", "tesla=", "tesla=new"]),
    ("k8s.aliyun.com/eci-privatepool-matchcriteria", &["Open", "Target"], &["None", "open"]),
    ("k8s.aliyun.com/eci-privatepool-id", &["eap-1"], &["1", "eap-"]),
    ("k8s.aliyun.com/eci-fail-strategy", &["fail-back", "fail-over", "fail-fast"], &["fail", "fast"]),
    ("k8s.aliyun.com/eci-max-pending-minute", &["10", "240", "1440"], &["9", "1441", "1h", "-10", "+10", ""]),
    ("k8s.aliyun.com/eci-spot-strategy", &["SpotAsPriceGo", "SpotWithPriceLimit"], &["NoSpot", "spot"]),
    (
        "k8s.aliyun.com/eci-spot-price-limit",
        &["0.5", "1", "0.125"],
        &["0.1234", "0", "0.000", "-1", ".5", "1.", "1e3", "¥1"],
    ),
    ("k8s.aliyun.com/eci-spot-duration", &["0", "1"], &["2", "1h", ""]),
    ("k8s.aliyun.com/eci-spot-fallback", &["true", "false"], &["True", "yes", ""]),
    ("k8s.aliyun.com/eci-spot-release-strategy", &["api-evict"], &["evict"]),
    ("k8s.aliyun.com/eci-auto-imc", &["true", "false"], &["1"]),
    ("k8s.aliyun.com/imc-perfect-match", &["true", "false"], &["perfect"]),
    ("k8s.aliyun.com/imc-match-count-request", &["2"], &["0", "two", "99999999999999999999"]),
    ("k8s.aliyun.com/eci-imc-id", &["imc-1"], &["edc-1", "imc-", "imc-1,imc-2"]),
    ("k8s.aliyun.com/acr-instance-ids", &["cri-1", "cri-1,cn-beijing:cri-2"], &["acr-1", ":cri-1", "cri-1,"]),
    ("k8s.aliyun.com/acr-service-arns", &["acs:ram::1:role/a"], &["", "a b"]),
    ("k8s.aliyun.com/acr-user-arns", &["acs:ram::1:role/a,acs:ram::2:role/b"], &["", "a,,b"]),
    ("k8s.aliyun.com/plain-http-registry", &["registry.example.com:5000,192.0.2.7"], &["", "a, b"]),
    ("k8s.aliyun.com/insecure-registry", &["registry.example.com"], &["", "a\nb"]),
    ("k8s.aliyun.com/eci-data-cache-bucket", &["default"], &["", " "]),
    ("k8s.aliyun.com/eci-data-cache-pl", &["PL0", "PL1", "PL2", "PL3"], &["PL4", "pl1"]),
    ("k8s.aliyun.com/eci-data-cache-provisionedIops", &["0", "50000"], &["50001", "-1"]),
    ("k8s.aliyun.com/eci-data-cache-burstingEnabled", &["true"], &["on"]),
    (
        "k8s.aliyun.com/eci-security-group",
        &["sg-1,sg-2,sg-3,sg-4,sg-5"],
        &["sg-1,sg-2,sg-3,sg-4,sg-5,sg-6", "vsw-1"],
    ),
    ("k8s.aliyun.com/eci-with-eip", &["true"], &["eip-1"]),
    ("k8s.aliyun.com/eci-eip-instanceid", &["eip-1"], &["true"]),
    ("k8s.aliyun.com/eip-bandwidth", &["5", "1000"], &["0", "5M"]),
    ("k8s.aliyun.com/eip-common-bandwidth-package-id", &["cbwp-1"], &["1"]),
    ("k8s.aliyun.com/eip-isp", &["BGP", "BGP_PRO"], &["bgp"]),
    ("k8s.aliyun.com/eip-internet-charge-type", &["PayByBandwidth", "PayByTraffic"], &["PayByHour"]),
    ("k8s.aliyun.com/eip-public-ip-address-pool-id", &["pippool-1"], &["pool-1"]),
    ("k8s.aliyun.com/eci-enable-ipv6", &["true"], &["6"]),
    ("k8s.aliyun.com/eci-ipv6-bandwidth-enable", &["true"], &["100M"]),
    ("k8s.aliyun.com/eci-ipv6-bandwidth", &["100M"], &["100 M", "M", "0M"]),
    ("k8s.aliyun.com/eci-private-ip-address", &["192.0.2.7", "2001:db8::7"], &["192.0.2", "192.0.2.0/24"]),
    ("k8s.aliyun.com/eci-fixed-ip", &["true"], &["192.0.2.7"]),
    ("k8s.aliyun.com/eci-fixed-ip-retain-hour", &["48"], &["0", "2d"]),
    ("k8s.aliyun.com/eci-custom-dnsconfig", &["nameservers"], &[""]),
    (
        "k8s.aliyun.com/eci-custom-hosts",
        &[r#"[{"host":"a.example.com","ip":"192.0.2.7"}]"#, "[]"],
        &["a", "{}", r#"[{"host":"a"}]"#, r#"[{"host":"a","ip":"b"}]"#, r#"[{"host":1,"ip":"192.0.2.7"}]"#],
    ),
    ("kubernetes.io/ingress-bandwidth", &["10M"], &["10Mi", "fast"]),
    ("kubernetes.io/egress-bandwidth", &["1G"], &["1GB", ""]),
    ("k8s.aliyun.com/eci-ram-role-name", &["pod-role"], &[""]),
    ("k8s.aliyun.com/eci-custom-tags", &["a:b,c:d,e:"], &["a:b,c:d,e:f,g:h", "a", ":b"]),
    ("k8s.aliyun.com/eci-extra-ephemeral-storage", &["50Gi"], &["50GiB", "0Gi", "-1Gi", ""]),
    ("k8s.aliyun.com/eci-ephemeral-storage-options", &[r#"{"a":1}"#], &["{", ""]),
    ("k8s.aliyun.com/eci-eviction-enable", &["true"], &["TRUE"]),
    ("k8s.aliyun.com/eci-ntp-server", &["192.0.2.7,ntp.example.com"], &["", "a b"]),
    ("k8s.aliyun.com/eci-sls-enable", &["false"], &["no"]),
    ("k8s.aliyun.com/eci-core-pattern", &["/pod/data/dump/core"], &["core", ""]),
];

#[test]
fn every_documented_annotation_takes_documented_values_and_no_others() {
    let written: Vec<_> =
        CATALOGUE.iter().filter(|a| a.writer == Writer::User).map(|annotation| annotation.name).collect();
    assert_eq!(written, DOCUMENTED.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for (name, good, bad) in DOCUMENTED {
        for text in *good {
            let errors: Vec<_> = check(&pod(&[(name, text)]))
                .into_iter()
                .filter(|f| matches!(f.problem, Problem::Value { .. }))
                .collect();
            assert!(errors.is_empty(), "{name}={text}: {errors:?}");
        }
        for text in *bad {
            let findings = check(&pod(&[(name, text)]));
            let refused = findings.iter().any(|f| {
                f.severity == Severity::Error
                    && matches!(f.problem, Problem::Value { .. })
                    && f.annotation == *name
            });
            assert!(refused, "{name}={text}: {findings:?}");
        }
    }
}

#[test]
fn what_the_virtual_node_writes_and_names_of_the_past_are_warned_of() {
    let mut seen = 0;
    for annotation in CATALOGUE.iter().filter(|a| a.writer != Writer::User) {
        let findings = check(&pod(&[(annotation.name, "x")]));
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(finding.severity, Severity::Warning);
        seen += 1;
    }
    assert_eq!(seen, 9 + 12);
    assert_eq!(
        says(&[("eci-instance-id", "eci-1")]),
        [
            "annotation eci-instance-id is written by the virtual node as a report; what it is set to has no effect"
        ]
    );
}

#[test]
fn only_an_address_and_an_eip_belong_to_one_pod() {
    let single: Vec<_> =
        CATALOGUE.iter().filter(|a| a.scope == Scope::OnePod).map(|annotation| annotation.name).collect();
    assert_eq!(single, ["k8s.aliyun.com/eci-eip-instanceid", "k8s.aliyun.com/eci-private-ip-address"]);
}

#[test]
fn names_are_unique() {
    let names: std::collections::BTreeSet<_> = CATALOGUE.iter().map(|annotation| annotation.name).collect();
    assert_eq!(names.len(), CATALOGUE.len());
}

#[test]
fn a_name_with_a_typing_error_is_found_with_the_one_that_was_meant() {
    assert_eq!(
        says(&[("eci-spot-stratgey", "SpotAsPriceGo")]),
        ["annotation eci-spot-stratgey is not known, and the virtual node ignores what it does not know: \
          is eci-spot-strategy meant?"]
    );
    assert_eq!(
        says(&[("something-else", "x")]),
        ["annotation something-else is not known, and the virtual node ignores what it does not know"]
    );
    assert!(check(&pod(&[("example.com/eci-spot-stratgey", "x"), ("kubernetes.io/other", "x")])).is_empty());
}

#[test]
fn distances_are_counted_in_letters() {
    for (a, b, letters) in
        [("", "", 0), ("", "ab", 2), ("abc", "abd", 1), ("abc", "bc", 1), ("kitten", "sitting", 3)]
    {
        assert_eq!(distance(a, b), letters, "{a} {b}");
        assert_eq!(distance(b, a), letters, "{b} {a}");
    }
}

#[test]
fn annotations_that_mean_nothing_together_are_found() {
    type Annotations = &'static [(&'static str, &'static str)];
    let table: &[(Annotations, &[&str])] = &[
        (
            &[("eci-privatepool-matchcriteria", "Target")],
            &["annotation eci-privatepool-matchcriteria needs eci-privatepool-id"],
        ),
        (
            &[("eci-privatepool-matchcriteria", "Open"), ("eci-privatepool-id", "eap-1")],
            &[r#"annotation eci-privatepool-id needs eci-privatepool-matchcriteria: "Target""#],
        ),
        (&[("eci-privatepool-matchcriteria", "Target"), ("eci-privatepool-id", "eap-1")], &[]),
        (
            &[("eci-spot-strategy", "SpotWithPriceLimit")],
            &["annotation eci-spot-strategy needs eci-spot-price-limit"],
        ),
        (
            &[("eci-spot-strategy", "SpotAsPriceGo"), ("eci-spot-price-limit", "0.5")],
            &[r#"annotation eci-spot-price-limit needs eci-spot-strategy: "SpotWithPriceLimit""#],
        ),
        (&[("eci-spot-strategy", "SpotWithPriceLimit"), ("eci-spot-price-limit", "0.5")], &[]),
        (
            &[
                ("eci-spot-duration", "1"),
                ("eci-spot-fallback", "true"),
                ("eci-spot-release-strategy", "api-evict"),
            ],
            &[
                "annotation eci-spot-duration needs eci-spot-strategy",
                "annotation eci-spot-fallback needs eci-spot-strategy",
                "annotation eci-spot-release-strategy needs eci-spot-strategy",
            ],
        ),
        (&[("eci-spot-fallback", "false")], &[]),
        (
            &[("eci-auto-imc", "true"), ("eci-imc-id", "imc-1"), ("imc-perfect-match", "true")],
            &[
                "annotation eci-auto-imc does nothing beside eci-imc-id, which wins",
                "annotation imc-perfect-match does nothing beside eci-imc-id, which wins",
            ],
        ),
        (&[("eci-auto-imc", "false"), ("eci-imc-id", "imc-1")], &[]),
        (
            &[("imc-perfect-match", "true"), ("imc-match-count-request", "2")],
            &["annotation imc-match-count-request does nothing beside imc-perfect-match, which wins"],
        ),
        (
            &[("acr-service-arns", "a"), ("acr-user-arns", "a")],
            &[
                "annotation acr-service-arns needs acr-instance-ids",
                "annotation acr-user-arns needs acr-instance-ids",
            ],
        ),
        (&[("eci-data-cache-pl", "PL1")], &["annotation eci-data-cache-pl needs eci-data-cache-bucket"]),
        (
            &[
                ("eci-data-cache-bucket", "a"),
                ("eci-data-cache-pl", "PL1"),
                ("eci-data-cache-burstingEnabled", "true"),
            ],
            &[
                "annotation eci-data-cache-burstingEnabled cannot be combined with eci-data-cache-pl: set one of them",
            ],
        ),
        (
            &[("eci-with-eip", "true"), ("eci-eip-instanceid", "eip-1"), ("eip-isp", "BGP")],
            &["annotation eci-eip-instanceid cannot be combined with eci-with-eip: set one of them"],
        ),
        (&[("eip-bandwidth", "5")], &[r#"annotation eip-bandwidth needs eci-with-eip: "true""#]),
        (
            &[("eci-enable-ipv6", "true"), ("eci-ipv6-bandwidth", "100M")],
            &[r#"annotation eci-ipv6-bandwidth needs eci-ipv6-bandwidth-enable: "true""#],
        ),
        (
            &[("eci-fixed-ip-retain-hour", "48")],
            &[r#"annotation eci-fixed-ip-retain-hour needs eci-fixed-ip: "true""#],
        ),
    ];
    for (annotations, expected) in table {
        assert_eq!(says(annotations), *expected, "{annotations:?}");
    }
}

#[test]
fn the_rules_name_annotations_that_exist_and_values_that_they_take() {
    for rule in RULES {
        let (names, values): (Vec<_>, Vec<_>) = match *rule {
            Needs(a, b, value) | Overruled(a, b, value) => {
                (vec![a, b], value.map(|v| (b, v)).into_iter().collect())
            }
            Demands(a, value, b) => (vec![a, b], vec![(a, value)]),
            Excludes(a, b) => (vec![a, b], vec![]),
        };
        for name in names {
            assert_eq!(find(name).unwrap().writer, Writer::User, "{name}");
        }
        for (name, value) in values {
            assert!(find(name).unwrap().value.accepts(value), "{name}={value}");
        }
    }
}

proptest! {
    #[test]
    fn any_input_is_safe_and_the_answer_is_bounded(
        known in proptest::collection::vec((0..CATALOGUE.len(), "\\PC{0,20}|[0-9.,:=-]{0,40}|[\\[{\"]{0,300}"), 0..40),
        unknown in proptest::collection::vec(("\\PC{0,120}", "\\PC{0,20}"), 0..120),
    ) {
        let known = known.into_iter().map(|(at, text)| (CATALOGUE[at].name.to_owned(), text));
        let unknown = unknown.into_iter().map(|(name, text)| (format!("{PREFIX}{name}"), text));
        let findings = check(&known.chain(unknown).collect());
        prop_assert!(findings.len() <= MAX_FINDINGS);
        for finding in findings {
            prop_assert!(finding.to_string().chars().count() < 1_500);
        }
    }
}
