//! How many pods were evicted by when, one line for each run.

use std::fmt::Write as _;

use super::run::Row;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 44.0;
/// Apart by lightness as well, for those who do not see the hue.
const COLOURS: [&str; 5] = ["#0b3c8c", "#d95f02", "#7a9a01", "#8a8a8a", "#b0307a"];

/// An SVG picture, in which time goes to the right until the `limit`, in seconds.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(super) fn svg(rows: &[&Row], limit: u32) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let most = rows.iter().map(|row| row.figures.doomed).max().unwrap_or(1).max(1);
    let last = rows.iter().filter_map(|row| row.figures.last_seconds).fold(first.bound_seconds, f64::max);
    // Not wider than there is something to see.
    let seconds = (last * 1.1).ceil().clamp(1.0, f64::from(limit).max(1.0));
    let x = |at: f64| LEFT + at.min(seconds) / seconds * (WIDTH - LEFT - RIGHT);
    let y = |pods: usize| HEIGHT - BOTTOM - pods as f64 / most as f64 * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{} {}: pods evicted, controllers at {} QPS</text>\n",
        first.scenario, first.name, first.controller_qps
    );
    for quarter in 0..=4_u32 {
        let (pods, at) = (most * quarter as usize / 4, seconds * f64::from(quarter) / 4.0);
        let (across, up) = (x(at), y(pods));
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{up:.1}\" y2=\"{up:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{pods}</text>\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at:.0} s</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            up + 4.0,
            HEIGHT - BOTTOM + 18.0,
        );
    }
    let bound = x(first.bound_seconds);
    let _ = writeln!(
        text,
        "<line x1=\"{bound:.1}\" x2=\"{bound:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#000000\" \
         stroke-dasharray=\"4 4\"/><text x=\"{:.1}\" y=\"{:.1}\">bound</text>",
        HEIGHT - BOTTOM,
        bound + 4.0,
        TOP + 10.0
    );
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let new = !names.contains(&row.contender.as_str());
        if new {
            names.push(&row.contender);
        }
        let n = names.iter().position(|name| *name == row.contender).unwrap_or_default();
        let colour = COLOURS[n % COLOURS.len()];
        let mut points = format!("{:.1},{:.1}", x(0.0), y(0));
        let (mut told, all) = ((x(0.0), 0), row.evicted_at.len());
        for (pods, at) in (1..).zip(&row.evicted_at) {
            // Steps that nobody could tell apart are one.
            if x(*at) - told.0 >= 1.0 || pods == all {
                let _ = write!(points, " {:.1},{:.1} {:.1},{:.1}", x(*at), y(told.1), x(*at), y(pods));
                told = (x(*at), pods);
            }
        }
        let _ = writeln!(
            text,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        if new {
            let (left, up) = (WIDTH - RIGHT + 16.0, TOP + 20.0 + 18.0 * n as f64);
            let _ = writeln!(
                text,
                "<line x1=\"{left}\" x2=\"{}\" y1=\"{up}\" y2=\"{up}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                left + 22.0,
                left + 28.0,
                up + 4.0,
                row.contender
            );
        }
    }
    text.push_str("</svg>\n");
    text
}
