//! An SVG of calls per second and latencies against the number of callers, one line per system.
//!
//! Three charts with logarithmic axes, and a legend. Colours follow the reader's light or dark
//! scheme; each system has a marker of its own shape besides its colour. Each point has its figures
//! as a title, which browsers show and screen readers read.

use std::fmt::Write as _;

/// A system, and its figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// The medians of a system at a number of callers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) callers: usize,
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// A chart of the three.
struct Panel {
    title: &'static str,
    value: fn(&Point) -> f64,
    text: fn(f64) -> String,
}

const PANELS: [Panel; 3] = [
    Panel { title: "calls per second", value: |point| point.per_s, text: count },
    Panel { title: "latency, p50", value: |point| point.p50_us, text: time },
    Panel { title: "latency, p99", value: |point| point.p99_us, text: time },
];

/// Of the picture, in pixels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 660.0;
const HEAD: f64 = 40.0;
/// Of a chart's cell, and of the axes in it.
const CELL: (f64, f64) = (WIDTH / 2.0, (HEIGHT - HEAD) / 2.0);
const LEFT: f64 = 64.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;

/// Colours on light and on dark, with enough contrast to both for lines; the first is for the
/// first system. They repeat after the last.
const COLOURS: [(&str, &str); 10] = [
    ("#c1121f", "#ff6b6b"),
    ("#0b62a4", "#5fb0f0"),
    ("#117733", "#5fd38d"),
    ("#8a5a00", "#e6b450"),
    ("#7b2d8e", "#cf8fe0"),
    ("#00737a", "#4fd0d6"),
    ("#555555", "#b0b0b0"),
    ("#a23b72", "#f29ac4"),
    ("#3d405b", "#a5a9d6"),
    ("#5b7f00", "#b5d65a"),
];

/// Markers, around (0, 0). They repeat after the last; seven shapes and ten colours give seventy
/// pairs.
const MARKERS: [&str; 7] = [
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.6 -3.6h7.2v7.2h-7.2z",
    "M0 -5L5 0L0 5L-5 0z",
    "M0 -4.8L4.8 3.6H-4.8z",
    "M0 4.8L4.8 -3.6H-4.8z",
    "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "M-4.5 -1.5h9v3h-9z",
];

/// Returns the picture. Figures that a logarithmic axis cannot show are left out.
pub(crate) fn svg(title: &str, description: &str, all: &[Series]) -> String {
    let mut out = String::new();
    head(&mut out, title, description, all.len());
    let points = || all.iter().flat_map(|series| &series.points);
    let callers = Axis::around(points().map(|point| point.callers as f64));
    let mut counts: Vec<usize> = points().map(|point| point.callers).collect();
    counts.sort_unstable();
    counts.dedup();
    for (at, panel) in PANELS.iter().enumerate() {
        let (column, row) = ((at % 2) as f64, (at / 2) as f64);
        let (left, top) = (column * CELL.0, HEAD + row * CELL.1);
        put(&mut out, format_args!("<g transform=\"translate({left} {top})\">"));
        let values = Axis::decades(points().map(panel.value));
        if let (Some(callers), Some(values)) = (callers, values) {
            panel.axes(&mut out, callers, values, &counts);
            for (number, series) in all.iter().enumerate() {
                panel.line(&mut out, callers, values, number, series);
            }
        }
        put(&mut out, format_args!("</g>"));
    }
    legend(&mut out, all);
    out.push_str("</svg>\n");
    out
}

/// A logarithmic axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    min: f64,
    max: f64,
}

impl Axis {
    /// Holds all values, with some room; `None` if there are none.
    fn around(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values = values.filter(|value| shown(*value));
        let fold = values.fold(None, |seen: Option<Self>, value| {
            let Self { min, max } = seen.unwrap_or(Self { min: value, max: value });
            Some(Self { min: min.min(value), max: max.max(value) })
        });
        fold.map(|Self { min, max }| Self { min: min / 1.25, max: max * 1.25 })
    }

    /// The same from a power of ten to a power of ten.
    fn decades(values: impl Iterator<Item = f64>) -> Option<Self> {
        let Self { min, max } = Self::around(values)?;
        let whole = |value: f64| 10_f64.powf(value);
        Some(Self { min: whole(min.log10().floor()), max: whole(max.log10().ceil()) })
    }

    /// Where a value lies, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        (value / self.min).ln() / (self.max / self.min).ln()
    }

    /// The powers of ten on it.
    fn powers(self) -> Vec<f64> {
        let powers = (-3..12).map(|power| 10_f64.powi(power));
        let on_axis = |value: &f64| (self.min * 0.999..=self.max * 1.001).contains(value);
        powers.filter(on_axis).collect()
    }
}

fn shown(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn across(axis: Axis, callers: f64) -> f64 {
    LEFT + axis.place(callers) * (CELL.0 - LEFT - RIGHT)
}

fn down(axis: Axis, value: f64) -> f64 {
    CELL.1 - BOTTOM - axis.place(value) * (CELL.1 - TOP - BOTTOM)
}

impl Panel {
    fn axes(&self, out: &mut String, callers: Axis, values: Axis, counts: &[usize]) {
        let Self { title, text, .. } = self;
        let (right, bottom) = (CELL.0 - RIGHT, CELL.1 - BOTTOM);
        put(
            out,
            format_args!("<text class=\"head\" x=\"{LEFT}\" y=\"{}\">{title}</text>", TOP - 12.0),
        );
        for value in values.powers() {
            let y = down(values, value);
            put(out, format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
            let (x, y, text) = (LEFT - 8.0, y + 4.0, text(value));
            put(out, format_args!("<text class=\"to\" x=\"{x}\" y=\"{y:.1}\">{text}</text>"));
        }
        for &many in counts {
            let x = across(callers, many as f64);
            put(out, format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>"));
            let (y, text) = (bottom + 18.0, count(many as f64));
            put(out, format_args!("<text class=\"at\" x=\"{x:.1}\" y=\"{y}\">{text}</text>"));
        }
        let (x, y) = (f64::midpoint(LEFT, right), bottom + 36.0);
        put(out, format_args!("<text class=\"at\" x=\"{x}\" y=\"{y}\">callers</text>"));
    }

    fn line(&self, out: &mut String, callers: Axis, values: Axis, number: usize, of: &Series) {
        let mut points: Vec<&Point> =
            of.points.iter().filter(|point| shown((self.value)(point))).collect();
        points.sort_by_key(|point| point.callers);
        let place = |point: &Point| {
            (across(callers, point.callers as f64), down(values, (self.value)(point)))
        };
        let places = points.iter().map(|point| place(point));
        let line: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let class = class(number);
        let points_of = line.join(" ");
        put(out, format_args!("<polyline class=\"line {class}\" points=\"{points_of}\"/>"));
        for point in points {
            let (x, y) = place(point);
            let (name, callers) = (escaped(&of.name), point.callers);
            let figure = (self.text)((self.value)(point));
            put(
                out,
                format_args!(
                    "<path class=\"point {class}\" transform=\"translate({x:.1} {y:.1})\" \
                     d=\"{}\"><title>{name}, callers: {callers}, {}: {figure}</title></path>",
                    marker(number),
                    self.title
                ),
            );
        }
    }
}

fn head(out: &mut String, title: &str, description: &str, systems: usize) {
    let (title, description) = (escaped(title), escaped(description));
    put(
        out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n<style>"
        ),
    );
    let used = || COLOURS.iter().enumerate().take(systems);
    out.push_str(
        "svg{background:#fff}text{font:13px system-ui,sans-serif;fill:#222}\
         .head{font-weight:600}.to{text-anchor:end}.at{text-anchor:middle}\
         .grid{stroke:#ddd;fill:none}.line{fill:none;stroke-width:1.6}.s0.line{stroke-width:3}\n",
    );
    for (number, (light, _)) in used() {
        put(out, format_args!(".line.s{number}{{stroke:{light}}}.point.s{number}{{fill:{light}}}"));
    }
    out.push_str("@media(prefers-color-scheme:dark){\n");
    out.push_str("svg{background:#0d1117}text{fill:#e6e6e6}.grid{stroke:#333b45}\n");
    for (number, (_, dark)) in used() {
        put(out, format_args!(".line.s{number}{{stroke:{dark}}}.point.s{number}{{fill:{dark}}}"));
    }
    out.push_str("}\n</style>\n");
    put(out, format_args!("<text class=\"head\" x=\"{LEFT}\" y=\"24\">{title}</text>"));
}

/// In the fourth cell.
fn legend(out: &mut String, all: &[Series]) {
    let (left, top) = (CELL.0 + LEFT, HEAD + CELL.1 + TOP);
    put(out, format_args!("<g class=\"legend\" transform=\"translate({left} {top})\">"));
    for (number, series) in all.iter().enumerate() {
        let (y, class, name) = (number as f64 * 22.0, class(number), escaped(&series.name));
        put(out, format_args!("<path class=\"line {class}\" d=\"M0 {y}H34\"/>"));
        let (marker, below) = (marker(number), y + 4.5);
        put(
            out,
            format_args!(
                "<path class=\"point {class}\" transform=\"translate(17 {y})\" d=\"{marker}\"/>"
            ),
        );
        put(out, format_args!("<text x=\"44\" y=\"{below}\">{name}</text>"));
    }
    put(out, format_args!("</g>"));
}

fn class(number: usize) -> String {
    format!("s{}", number % COLOURS.len())
}

fn marker(number: usize) -> &'static str {
    MARKERS[number % MARKERS.len()]
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(out, "{text}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", short(value / 1e6)),
        value if value >= 1e3 => format!("{}k", short(value / 1e3)),
        value => short(value),
    }
}

fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", short(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", short(us / 1e3)),
        us => format!("{} µs", short(us)),
    }
}

/// To three digits, without zeros at the end.
fn short(value: f64) -> String {
    let text = match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;

    fn series(name: &str, rows: &[(usize, f64, f64, f64)]) -> Series {
        let points = rows.iter().map(|&(callers, per_s, p50_us, p99_us)| Point {
            callers,
            per_s,
            p50_us,
            p99_us,
        });
        Series { name: name.to_owned(), points: points.collect() }
    }

    fn with_class<'a>(document: &'a Document<'a>, class: &str) -> Vec<Node<'a, 'a>> {
        let of = |node: &Node<'_, '_>| {
            node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class))
        };
        document.descendants().filter(of).collect()
    }

    fn text<'a>(document: &'a Document<'a>, name: &str) -> &'a str {
        let node = document.root_element().children().find(|node| node.has_tag_name(name));
        node.and_then(|node| node.text()).unwrap()
    }

    #[test]
    fn picture_has_one_point_per_figure_and_a_title() {
        let one = series("Redcall", &[(1, 18_000.0, 54.0, 90.0), (64, 60_000.0, 1000.0, 2500.0)]);
        let other = series("a < b & \"c\"", &[(1, 900.0, 1100.0, 4000.0)]);
        let picture = svg("Calls & latencies", "2 < 3", &[one, other]);
        let document = Document::parse(&picture).unwrap();
        assert_eq!(text(&document, "title"), "Calls & latencies");
        assert_eq!(text(&document, "desc"), "2 < 3");
        // Three rows in each of three charts, and two in the legend.
        let points = with_class(&document, "point");
        assert_eq!(points.len(), 3 * 3 + 2);
        let titles: Vec<&str> =
            points.iter().filter_map(|point| point.first_element_child()?.text()).collect();
        assert!(titles.contains(&"Redcall, callers: 64, latency, p99: 2.5 ms"), "{titles:?}");
        assert!(titles.contains(&"a < b & \"c\", callers: 1, calls per second: 900"), "{titles:?}");
        assert_eq!(with_class(&document, "line").len(), 2 * 3 + 2);
    }

    #[test]
    fn points_lie_inside_their_chart_and_grow_with_their_figure() {
        let rows = [(1, 100.0, 50.0, 60.0), (5000, 200_000.0, 50_000.0, 9_000_000.0)];
        let picture = svg("t", "d", &[series("one", &rows)]);
        let document = Document::parse(&picture).unwrap();
        let lines = with_class(&document, "line");
        for line in &lines[..3] {
            let places: Vec<(f64, f64)> = line
                .attribute("points")
                .unwrap()
                .split(' ')
                .map(|point| point.split_once(',').unwrap())
                .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
                .collect();
            assert!(places[0].0 < places[1].0 && places[0].1 > places[1].1, "{places:?}");
            for (x, y) in places {
                assert!((LEFT..=CELL.0 - RIGHT).contains(&x), "{x}");
                assert!((TOP..=CELL.1 - BOTTOM).contains(&y), "{y}");
            }
        }
    }

    #[test]
    fn picture_without_figures_is_valid() {
        for all in [vec![], vec![series("none", &[(4, 0.0, f64::NAN, f64::INFINITY)])]] {
            let picture = svg("t", "d", &all);
            let document = Document::parse(&picture).unwrap();
            assert_eq!(with_class(&document, "point").len(), all.len(), "only the legend's");
            assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        }
        // One count of callers is an axis, too.
        let picture = svg("t", "d", &[series("one", &[(4, 10.0, 10.0, 10.0)])]);
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        assert!(Document::parse(&picture).is_ok());
    }

    #[test]
    fn colours_follow_the_scheme_of_the_reader() {
        let all: Vec<Series> = (0..11).map(|_| series("s", &[(1, 1.0, 1.0, 1.0)])).collect();
        let picture = svg("t", "d", &all);
        let (light, dark) = picture.split_once("prefers-color-scheme:dark").unwrap();
        for (on_light, on_dark) in COLOURS {
            assert!(light.contains(on_light) && dark.contains(on_dark));
        }
    }

    #[test]
    fn axis_labels_are_short() {
        assert_eq!([count(5000.0), count(64.0), count(1e6)], ["5k", "64", "1M"]);
        assert_eq!([time(100.0), time(1500.0), time(2e6)], ["100 µs", "1.5 ms", "2 s"]);
        let axis = Axis::decades([30.0, 4000.0].into_iter()).unwrap();
        let powers: Vec<String> = axis.powers().into_iter().map(count).collect();
        assert_eq!(powers, ["10", "100", "1k", "10k"]);
    }
}
