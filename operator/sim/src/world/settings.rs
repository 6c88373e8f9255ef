//! What the world is like: tempo, quota, registries, and a switch for everything that the vendor documents nowhere.

use serde::{Deserialize, Serialize};

use crate::secret::Digest;
use crate::world::market::MarketSettings;
use crate::world::network::VSwitch;

/// A minute, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// What the world is like. As JSON (admin API, camelCase) every field may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The region; calls for another one are refused.
    pub region: String,
    /// Pulling of the images (Preparing), milliseconds.
    pub prepare_ms: u64,
    /// Making of the snapshot (Creating), milliseconds.
    pub create_ms: u64,
    /// A change in place that pulls nothing (Updating), milliseconds.
    pub update_ms: u64,
    /// All three are multiplied by this when they begin, 0 to 1000.
    pub scale: f64,
    /// Most image caches (`MaxImageCacheCount`); Failed ones count.
    pub max_image_caches: usize,
    /// Life of a Failed cache, milliseconds; documented: one day.
    pub failed_life_ms: u64,
    /// Whether a create call without VSwitchId or SecurityGroupId is refused: the documentation requires both, the
    /// schema neither.
    pub require_network: bool,
    /// How builds end that contain certain images; the first that fits is taken.
    pub builds: Vec<BuildRule>,
    /// Registries that are not simply public.
    pub registries: Vec<Registry>,
    /// Most data caches (`MaxDataCacheCount`); Failed ones count.
    pub max_data_caches: usize,
    /// How the loading of certain data ends; the first that fits is taken.
    pub loads: Vec<LoadRule>,
    /// Sources of data that are not simply public and small.
    pub sources: Vec<DataOrigin>,

    /// Unknown: how long a client token is remembered, milliseconds. 0 is not at all, null for ever.
    pub token_life_ms: Option<u64>,
    /// Unknown: the code when a token comes again with another request.
    pub token_mismatch_code: String,
    /// Unknown: how late creates and deletes are seen in lists.
    pub list_lag: Lag,
    /// Unknown: how late they are seen when looked up by ID.
    pub lookup_lag: Lag,
    /// Unknown: whether deleting an unknown ID is refused (with `unknown_id_code`) or succeeds.
    pub delete_unknown_fails: bool,
    /// Unknown: the code of update, tag and delete calls for an ID that does not exist.
    pub unknown_id_code: String,
    /// Unknown: what becomes of a cache whose snapshot somebody deletes.
    pub snapshot_deleted: SnapshotDeleted,
    /// Unknown: the code of a call that makes a data cache where there is one; null lets both exist.
    pub taken_place_code: Option<String>,
    /// Unknown: how the keys of `DataSource.Options` are written.
    pub option_keys: OptionKeys,
    /// Unknown: how parameter names stand in the canonical query of signature V3.
    pub canonical_names: CanonicalNames,
    /// The spot market.
    pub market: MarketSettings,
    /// The vSwitches of the account. Create calls do not look at them: they may name any.
    pub v_switches: Vec<VSwitch>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "cn-hangzhou".to_owned(),
            prepare_ms: MINUTE_MS,
            create_ms: MINUTE_MS / 2,
            update_ms: MINUTE_MS / 6,
            scale: 1.0,
            max_image_caches: 500,
            failed_life_ms: 24 * 60 * MINUTE_MS,
            require_network: false,
            builds: vec![BuildRule {
                image_contains: "nonexistent".to_owned(),
                times: None,
                outcome: BuildOutcome::Fails {
                    reason: "Failed".to_owned(),
                    message: "ErrImagePull: manifest unknown".to_owned(),
                },
            }],
            registries: vec![Registry {
                host: "private.example.com".to_owned(),
                login: Some(Login {
                    user_name: "robot".to_owned(),
                    password: Digest::of("made-up-password"),
                }),
                acr_instance_id: None,
                transport: Transport::Https,
            }],
            max_data_caches: 100,
            loads: vec![LoadRule {
                source_contains: "nonexistent".to_owned(),
                times: None,
                outcome: BuildOutcome::Fails {
                    reason: "Failed".to_owned(),
                    message: "404 Not Found".to_owned(),
                },
            }],
            sources: vec![DataOrigin {
                contains: "private".to_owned(),
                access_token: Some(Digest::of("made-up-token")),
                ..DataOrigin::default()
            }],
            token_life_ms: None,
            token_mismatch_code: "IdempotentParameterMismatch".to_owned(),
            list_lag: Lag::default(),
            lookup_lag: Lag::default(),
            delete_unknown_fails: false,
            unknown_id_code: "InvalidParameter.NotFound".to_owned(),
            snapshot_deleted: SnapshotDeleted::TurnsFailed,
            taken_place_code: Some("DataCache.PathExists".to_owned()),
            option_keys: OptionKeys::LengthPrefixed,
            canonical_names: CanonicalNames::Raw,
            market: MarketSettings::default(),
            v_switches: VSwitch::usual(),
        }
    }
}

impl Settings {
    /// Sets the time of a build: two thirds pull, one third makes the snapshot.
    pub fn set_build_time_ms(&mut self, ms: u64) {
        self.prepare_ms = ms / 3 * 2;
        self.create_ms = ms - self.prepare_ms;
    }

    /// A duration in the chosen tempo.
    pub(crate) fn scaled(&self, ms: u64) -> u64 {
        let scale = if self.scale.is_finite() { self.scale.clamp(0.0, 1_000.0) } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "not negative, and a float cast saturates"
        )]
        let scaled = (ms as f64 * scale) as u64;
        scaled
    }
}

/// How late something is seen: drawn anew for each call, between both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lag {
    /// Least, milliseconds.
    pub min_ms: u64,
    /// Most, milliseconds.
    pub max_ms: u64,
}

impl Lag {
    /// Always the same.
    pub fn fixed(ms: u64) -> Self {
        Self { min_ms: ms, max_ms: ms }
    }
}

/// How builds end that contain a certain image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildRule {
    /// Fits every cache with a reference that contains this; the empty text fits all.
    pub image_contains: String,
    /// For so many builds; for all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens.
    pub outcome: BuildOutcome,
}

/// How the loading of certain data ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadRule {
    /// Fits every source whose type or documented option contains this; the empty text fits all.
    pub source_contains: String,
    /// For so many builds; for all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens.
    pub outcome: BuildOutcome,
}

/// A source of data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DataOrigin {
    /// Fits every source whose type or documented option contains this.
    pub contains: String,
    /// The access token that it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<Digest>,
    /// Whether it is on the Internet, and the vSwitches have no NAT gateway: only an EIP reaches it.
    pub needs_internet: bool,
    /// Size of the data; more than the cache has fails the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gib: Option<i32>,
}

/// The end of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum BuildOutcome {
    /// As if there were no rule.
    Succeeds,
    /// The pull fails with this event.
    Fails {
        /// Reason of the event.
        reason: String,
        /// Its message; the image is put before it.
        message: String,
    },
    /// Never comes.
    Hangs,
}

/// A registry that is not simply public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Host with port, as in image references.
    pub host: String,
    /// The login it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// The instance whose mention in the request replaces the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr_instance_id: Option<String>,
    /// How it talks.
    #[serde(default)]
    pub transport: Transport,
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// User.
    pub user_name: String,
    /// Password, kept as a digest.
    pub password: Digest,
}

/// How a registry talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// With a certificate that everybody accepts.
    #[default]
    Https,
    /// With one that nobody knows: must be in InsecureRegistry.
    SelfSigned,
    /// Not at all: must be in PlainHttpRegistry.
    PlainHttp,
}

/// What becomes of a cache whose snapshot is deleted by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SnapshotDeleted {
    /// Its state turns to Failed.
    TurnsFailed,
    /// It stays Ready, without SnapshotId.
    LosesId,
}

/// Keys of `DataSource.Options` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OptionKeys {
    /// `#<length>#<key>`: the only form that is documented.
    LengthPrefixed,
    /// As they are.
    Plain,
}

/// Parameter names in the canonical query of signature V3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CanonicalNames {
    /// As they are: what the official SDKs do.
    Raw,
    /// Percent-encoded like values: what the documentation says.
    Encoded,
}
