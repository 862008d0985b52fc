//! The figures as tables for people: Markdown, which a terminal shows as well.

use comfy_table::{CellAlignment, presets};
use ntpguard_tests::sizes::{Size, Sizes};

use crate::{
    Results, daemon, exchange, filter::Kind, flood, leaving, per_packet, scale, timekeeping,
};

/// A table of figures.
pub(crate) struct Table {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// The file of its picture, where there is one.
    pub(crate) picture: Option<&'static str>,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Its lines. The first column holds words, the others figures.
    pub(crate) fn markdown(&self) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::ASCII_MARKDOWN)
            .set_header(self.head.clone());
        table.add_rows(&self.rows);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

/// A table for each part that was measured.
pub(crate) fn all(results: &Results) -> Vec<Table> {
    let tables = [
        results.packets.as_deref().map(packets),
        results.exchanges.as_deref().map(exchanges),
        results.leaving.as_deref().map(leaving),
        results.flood.as_deref().map(flood),
        results.scale.as_deref().map(scale),
        results.timekeeping.as_deref().map(timekeeping),
        results.daemon.as_ref().map(daemon),
        results.sizes.as_ref().map(sizes),
    ];
    tables.into_iter().flatten().collect()
}

fn packets(rows: &[per_packet::Row]) -> Table {
    let line = |row: &per_packet::Row| {
        let aim = row
            .aim
            .map_or_else(String::new, |aim| format!("≤ {aim:.0}"));
        let filter = if row.xdp_filter_passes {
            "passed"
        } else {
            "dropped"
        };
        vec![
            row.packet.to_owned(),
            format!("{:.0}", row.floor.min),
            format!("{:.0}", row.ntpguard.min),
            format!("{:.0}", row.ntpguard.median),
            marked(format!("{:+.0}", row.above_floor()), row.is_met()),
            aim,
            format!("{:+.0}, {filter}", row.xdp_filter_above_floor()),
            format!("{:.2}", row.ntpguard.min / row.xdp_filter.min),
        ]
    };
    Table {
        title: "Per packet, nanoseconds",
        picture: Some("packets.svg"),
        head: vec![
            "packet",
            "floor",
            "ntpguard",
            "median",
            "above floor",
            "aim",
            "xdp-filter above floor",
            "ntpguard / xdp-filter",
        ],
        rows: rows.iter().map(line).collect(),
    }
}

fn exchanges(rows: &[exchange::Row]) -> Table {
    let line = |row: &exchange::Row| {
        let aim = (!exchange::BARE.contains(&row.what)).then_some(TOGETHER);
        let is_met = aim.map(|aim| row.together() <= aim);
        vec![
            row.what.to_owned(),
            format!("{:+.0}", row.request),
            format!("{:+.0}", row.reply),
            marked(format!("{:+.0}", row.together()), is_met),
            format!("{:+.0}", row.median),
            aim.map_or_else(String::new, |aim| format!("≤ {aim:.0}")),
        ]
    };
    Table {
        title: "A request and its reply, nanoseconds above the floor",
        picture: None,
        head: vec!["asked by", "request", "reply", "together", "median", "aim"],
        rows: rows.iter().map(line).collect(),
    }
}

fn leaving(rows: &[leaving::Row]) -> Table {
    let line = |row: &leaving::Row| {
        vec![
            row.what.to_owned(),
            marked(format!("{:+.0}", row.least), Some(row.least <= LEAVING)),
            format!("{:+.0}", row.median),
            format!("≤ {LEAVING:.0}"),
        ]
    };
    Table {
        title: "What leaves and is no request, nanoseconds above the floor",
        picture: None,
        head: vec!["packet", "least", "median", "aim"],
        rows: rows.iter().map(line).collect(),
    }
}

fn flood(rows: &[flood::Row]) -> Table {
    let best = |kind| {
        rows.iter()
            .find(|row| row.filter == kind)
            .map(|row| row.rate.max)
    };
    let ceiling = best(Kind::Ceiling).unwrap_or(f64::NAN);
    let ours = best(Kind::NtpguardNative).unwrap_or(f64::NAN);
    let line = |row: &flood::Row| {
        let ratio = ours / row.rate.max;
        let aim = aim(row.filter);
        let met = aim.map(|aim| ratio >= aim);
        let mut cells = vec![
            row.filter.name().to_owned(),
            format!("{:.2}", row.rate.max / 1e6),
            format!("{:.2}", row.rate.median / 1e6),
            format!("{:.0}", 1e9 / row.rate.max),
            format!("{:.0} %", row.rate.max / ceiling * 100.0),
            marked(format!("{ratio:.2}"), met),
            aim.map_or_else(String::new, |aim| format!("≥ {aim}")),
        ];
        cells.extend(row.client.as_ref().map_or_else(
            || vec![String::new(); 3],
            |seen| {
                vec![
                    format!("{} of {}", seen.lost, seen.requests),
                    format!("{:.2}", seen.offset.max),
                    format!("{:.2}", seen.jitter.median),
                ]
            },
        ));
        cells
    };
    Table {
        title: "Under a flood, by one CPU",
        picture: Some("flood.svg"),
        head: vec![
            "filter",
            "Mpps",
            "median",
            "ns a packet",
            "of ceiling",
            "ntpguard is × it",
            "aim",
            "client's replies lost",
            "worst offset, µs",
            "jitter, µs",
        ],
        rows: rows.iter().map(line).collect(),
    }
}

fn scale(rows: &[scale::Row]) -> Table {
    let line = |row: &scale::Row| {
        vec![
            format!("{} {}", grouped(row.entries), row.kind.name()),
            format!("{:+.0}", row.repeated),
            format!("{:+.0}", row.random),
            format!("{:+.0}", row.missed),
            format!("{:.0}", row.load * 1e3),
            format!("{:.1}", row.replace * 1e3),
            format!("{:.1}", mib(row.memory)),
        ]
    };
    Table {
        title: "Tables of different sizes; nanoseconds above the floor",
        picture: Some("sizes.svg"),
        head: vec![
            "granted",
            "one packet admitted, ns",
            "any admitted, ns",
            "any dropped, ns",
            "loaded in, ms",
            "1,000 replaced in, ms",
            "kernel memory, MiB",
        ],
        rows: rows.iter().map(line).collect(),
    }
}

fn timekeeping(rows: &[timekeeping::Row]) -> Table {
    let line = |row: &timekeeping::Row| {
        vec![
            row.filter.name().to_owned(),
            format!("{:.3}", row.offset.median),
            format!("{:.3}", row.offset.max),
            format!("{:.2}", row.jitter.median),
            format!("{:.1}", row.delay.median),
            row.lost.to_string(),
        ]
    };
    Table {
        title: "A client's precision, microseconds",
        picture: None,
        head: vec![
            "filter",
            "offset",
            "worst offset",
            "jitter",
            "delay",
            "replies lost",
        ],
        rows: rows.iter().map(line).collect(),
    }
}

fn daemon(figures: &daemon::Figures) -> Table {
    let line =
        |what: &str, figure: String, aim: &str| vec![what.to_owned(), figure, aim.to_owned()];
    Table {
        title: "The daemon",
        picture: None,
        head: vec!["what", "figure", "aim"],
        rows: vec![
            line(
                "from the command to guarding",
                format!("{:.0}–{:.0} ms", figures.start.min, figures.start.max),
                "< 300 ms",
            ),
            line(
                "from the question to DNS to the first admitted packet",
                format!("{:.1} ms", figures.answer_to_admitted.median),
                "",
            ),
            line(
                "CPU time while idle",
                format!("{:.1} ms a minute", figures.idle_cpu),
                "",
            ),
            line(
                "resident, idle",
                format!("{:.1} MiB", mib(figures.resident)),
                "< 15 MB",
            ),
            line(
                "resident, at most",
                format!("{:.1} MiB", mib(figures.most_resident)),
                "",
            ),
        ],
    }
}

fn sizes(sizes: &Sizes) -> Table {
    let line = |(name, size): (&String, &Size)| {
        vec![
            name.clone(),
            size.instructions.to_string(),
            size.machine_code.to_string(),
            size.verified
                .map_or_else(String::new, |verified| verified.to_string()),
        ]
    };
    Table {
        title: "The programs",
        picture: None,
        head: vec![
            "program",
            "instructions",
            "bytes of machine code",
            "instructions verified",
        ],
        rows: sizes.iter().map(line).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// With commas between thousands.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let groups = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// The most nanoseconds above the floor that a request and its reply are to cost.
const TOGETHER: f64 = 300.0;

/// The most nanoseconds above the floor that a packet is to cost which leaves and is no request.
const LEAVING: f64 = 5.0;

/// How many times what this filter takes the native guard is to take.
const fn aim(filter: Kind) -> Option<f64> {
    match filter {
        Kind::Ceiling => Some(0.95),
        Kind::XdpFilter => Some(1.2),
        Kind::NftNetdev => Some(2.5),
        Kind::IptablesStateful => Some(4.5),
        _ => None,
    }
}

/// A figure, in bold where it misses its aim.
fn marked(figure: String, met: Option<bool>) -> String {
    if met == Some(false) {
        format!("**{figure}**")
    } else {
        figure
    }
}
