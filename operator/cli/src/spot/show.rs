//! The advice as a table and as JSON.

use eci_core::spot::advice::{Curve, Offer};
use eci_core::spot::limit;
use serde_json::{Value, json};

use super::ask::Found;
use crate::table;

const HEAD: [&str; 10] = [
    "INSTANCE TYPE",
    "ZONE",
    "NOW",
    "LOWEST",
    "MEDIAN",
    "P90",
    "HIGHEST",
    "REGULAR",
    "INTERRUPTED",
    "SUGGESTED LIMIT",
];

/// What is not known.
const UNKNOWN: &str = "-";

pub(super) fn table(found: &Found, region: &str) -> String {
    let rows: Vec<_> = found.offers.iter().map(row).collect();
    let mut lines = vec![headline(found, region), String::new(), table::table(HEAD, &rows)];
    lines.extend(notes(found).into_iter().map(|note| format!("{note}\n")));
    lines.into_iter().map(|line| if line.ends_with('\n') { line } else { line + "\n" }).collect()
}

fn headline(found: &Found, region: &str) -> String {
    let what = match found.question.size {
        Some(size) => format!("{} vCPU and {} GiB", size.vcpu, size.memory_gib),
        None => format!("{} instance types", found.question.types.len()),
    };
    let currency = found.currency.as_deref().unwrap_or("the account's currency");
    format!(
        "Spot instances of {what} in {region}: {currency} for an hour, {} to {}",
        found.from.strftime("%Y-%m-%d"),
        found.to.strftime("%Y-%m-%d")
    )
}

fn row(offer: &Offer) -> [String; 10] {
    let unknown = || UNKNOWN.to_owned();
    let curve = offer.curve.as_ref();
    let price = |of: fn(&Curve) -> eci_core::spot::Price| curve.map_or_else(unknown, |c| of(c).to_string());
    let now = price(Curve::now);
    [
        offer.instance_type.to_string(),
        offer.zone.to_string(),
        offer.discount().map_or(now.clone(), |discount| format!("{now} (-{discount}%)")),
        price(Curve::lowest),
        price(Curve::median),
        price(Curve::p90),
        price(Curve::highest),
        curve.and_then(Curve::pay_as_you_go).map_or_else(unknown, |regular| regular.to_string()),
        interrupted(offer).unwrap_or_else(unknown),
        price(|curve| curve.suggestion().limit),
    ]
}

fn interrupted(offer: &Offer) -> Option<String> {
    let rate = offer.interruption.map(percent);
    rate.map(|rate| format!("{rate}%")).or_else(|| offer.interruption_range.clone())
}

/// Hundredths of a percent.
fn percent(hundredths: u16) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn notes(found: &Found) -> Vec<String> {
    let mut notes = vec![String::new()];
    if let (true, Some(size)) = (found.question.rounded, found.question.size) {
        notes.push(format!(
            "Billed as {} vCPU and {} GiB: the next size that spot instances come in.",
            size.vcpu, size.memory_gib
        ));
    }
    if let Some((offer, curve)) = found.offers.iter().find_map(|offer| Some((offer, offer.curve.as_ref()?))) {
        let suggestion = curve.suggestion();
        notes.push(format!(
            "Suggested for {} in {}: priceLimit \"{}\", {}.",
            offer.instance_type,
            offer.zone,
            suggestion.limit,
            suggestion.basis.explanation()
        ));
    }
    if let Some(limit) = found.question.limit {
        let message = limit::condition(limit, &found.offers).message.replace("spec.spot.", "");
        notes.push(format!("{}.", sentence(&message)));
    }
    if found.left_out > 0 {
        notes.push(format!(
            "{} more instance types have this size; --types 10 looks at more.",
            found.left_out
        ));
    }
    if found.cut {
        notes.push("There are more prices than are read: the window is shorter than 30 days.".to_owned());
    }
    notes
}

/// With a capital at its beginning, unless that is the name of a field.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with("priceLimit") => first.to_uppercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

pub(super) fn json(found: &Found, region: &str) -> Value {
    let limit = found.question.limit.map(|limit| {
        let judgement = limit::condition(limit, &found.offers);
        json!({
            "limit": limit.to_string(),
            "sufficient": judgement.status,
            "reason": judgement.reason.as_str(),
            "message": judgement.message,
        })
    });
    json!({
        "region": region,
        "size": found.question.size.map(|size| json!({ "vcpu": size.vcpu, "memoryGiB": size.memory_gib })),
        "protectionHours": found.question.protection_hours,
        "currency": found.currency,
        "from": found.from.to_string(),
        "to": found.to.to_string(),
        "offers": found.offers.iter().map(|offer| self::offer(offer, found)).collect::<Vec<_>>(),
        "priceLimit": limit,
        "typesLeftOut": found.left_out,
        "pricesCut": found.cut,
    })
}

fn offer(offer: &Offer, found: &Found) -> Value {
    let price = |curve: &Curve| {
        let suggestion = curve.suggestion();
        let above = found.question.limit.map(|limit| curve.above(limit));
        json!({
            "now": curve.now().to_string(),
            "since": curve.since().to_string(),
            "lowest": curve.lowest().to_string(),
            "median": curve.median().to_string(),
            "p90": curve.p90().to_string(),
            "highest": curve.highest().to_string(),
            "hoursKnown": curve.covered().as_hours(),
            "payAsYouGo": curve.pay_as_you_go().map(|price| price.to_string()),
            "suggestedLimit": suggestion.limit.to_string(),
            "suggestedLimitBasis": suggestion.basis.as_str(),
            "perMilleOfTimeAbovePriceLimit": above,
        })
    };
    json!({
        "instanceType": offer.instance_type.as_str(),
        "zone": offer.zone.as_str(),
        "price": offer.curve.as_ref().map(price),
        "discountPercent": offer.discount(),
        "averagePricePercent": offer.price_percent,
        "interruptionPercent": offer.interruption.map(percent),
        "interruptionRange": offer.interruption_range,
    })
}
