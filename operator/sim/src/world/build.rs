//! How a build will end: decided when it begins, from the settings.

use super::call::Spec;
use super::image_cache::Verdict;
use super::settings::{BuildOutcome, Registry, Settings, Transport};

/// Decides. A rule with a number of times is used up by one.
pub(crate) fn verdict(spec: &Spec, settings: &mut Settings) -> Verdict {
    for rule in &mut settings.builds {
        let Some(image) = spec.images.iter().find(|image| image.contains(&rule.image_contains)) else {
            continue;
        };
        match &mut rule.times {
            Some(0) => continue,
            Some(times) => *times -= 1,
            None => {}
        }
        return match &rule.outcome {
            BuildOutcome::Succeeds => Verdict::Good,
            BuildOutcome::Hangs => Verdict::Never,
            BuildOutcome::Fails { reason, message } => Verdict::Bad {
                reason: reason.clone(),
                message: format!("Failed to pull image \"{image}\": {message}"),
            },
        };
    }
    spec.images
        .iter()
        .find_map(|image| {
            let host = host(image);
            let registry = settings.registries.iter().find(|registry| registry.host == host)?;
            let why = refusal(registry, spec)?;
            Some(Verdict::Bad {
                reason: "Failed".to_owned(),
                message: format!("Failed to pull image \"{image}\": ErrImagePull: {why}"),
            })
        })
        .unwrap_or(Verdict::Good)
}

/// The registry of a reference.
fn host(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Why a registry does not give its images to this request.
fn refusal(registry: &Registry, spec: &Spec) -> Option<&'static str> {
    let listed = |list: &[String]| list.contains(&registry.host);
    match registry.transport {
        Transport::SelfSigned if !listed(&spec.insecure_registries) => {
            return Some("x509: certificate signed by unknown authority");
        }
        Transport::PlainHttp if !listed(&spec.plain_http_registries) => {
            return Some("http: server gave HTTP response to HTTPS client");
        }
        _ => {}
    }
    let acr = registry.acr_instance_id.as_ref();
    if acr.is_some_and(|id| spec.acr_instances.iter().any(|instance| instance.instance_id == *id)) {
        return None;
    }
    match &registry.login {
        None if acr.is_some() => Some("unauthorized: authentication required"),
        None => None,
        Some(login) => match spec.credentials.iter().find(|given| given.server == registry.host) {
            None => Some("pull access denied, authentication required"),
            Some(given) if given.user_name == login.user_name && given.password == login.password => None,
            Some(_) => Some("unauthorized: incorrect username or password"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{AcrInstance, Credential};
    use super::*;
    use crate::secret::Digest;

    fn message(spec: &Spec, settings: &mut Settings) -> Option<String> {
        match verdict(spec, settings) {
            Verdict::Bad { message, .. } => Some(message),
            Verdict::Good => None,
            Verdict::Never => Some("never".to_owned()),
        }
    }

    fn of(image: &str) -> Spec {
        Spec { images: vec!["nginx:1".to_owned(), image.to_owned()], ..Spec::default() }
    }

    #[test]
    fn a_private_registry_gives_its_images_to_the_right_login_only() {
        let mut settings = Settings::default();
        let mut spec = of("private.example.com/app:1");
        assert!(message(&spec, &mut settings).unwrap().contains("authentication required"));
        let login = |password: &str| Credential {
            server: "private.example.com".to_owned(),
            user_name: "robot".to_owned(),
            password: Digest::of(password),
        };
        spec.credentials = vec![login("wrong")];
        assert!(message(&spec, &mut settings).unwrap().contains("incorrect username or password"));
        spec.credentials = vec![login("made-up-password")];
        assert_eq!(message(&spec, &mut settings), None);
    }

    #[test]
    fn registries_want_to_be_listed_as_they_talk_or_named_by_their_instance() {
        let registry = |host: &str, transport, acr: Option<&str>| Registry {
            host: host.to_owned(),
            login: None,
            acr_instance_id: acr.map(str::to_owned),
            transport,
        };
        let mut settings = Settings {
            registries: vec![
                registry("self.example.com", Transport::SelfSigned, None),
                registry("plain.example.com:5000", Transport::PlainHttp, None),
                registry("acr.example.com", Transport::Https, Some("cri-1")),
            ],
            ..Settings::default()
        };
        let mut spec = of("self.example.com/a:1");
        assert!(message(&spec, &mut settings).unwrap().contains("x509"));
        spec.insecure_registries = vec!["self.example.com".to_owned()];
        assert_eq!(message(&spec, &mut settings), None);

        let mut spec = of("plain.example.com:5000/a:1");
        assert!(message(&spec, &mut settings).unwrap().contains("HTTP response"));
        spec.plain_http_registries = vec!["plain.example.com:5000".to_owned()];
        assert_eq!(message(&spec, &mut settings), None);

        let mut spec = of("acr.example.com/a:1");
        assert!(message(&spec, &mut settings).unwrap().contains("unauthorized"));
        spec.acr_instances = vec![AcrInstance { instance_id: "cri-1".to_owned(), ..AcrInstance::default() }];
        assert_eq!(message(&spec, &mut settings), None);
    }

    #[test]
    fn a_scripted_outcome_is_used_as_often_as_it_says() {
        let mut settings = Settings::default();
        settings.builds[0].times = Some(2);
        let spec = of("library/nonexistent:1");
        let outcomes: Vec<bool> = (0..3).map(|_| message(&spec, &mut settings).is_some()).collect();
        assert_eq!(outcomes, [true, true, false]);
    }
}
