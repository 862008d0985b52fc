//! The figures as pictures.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{Results, flood, per_packet, scale};

const WIDTH: u32 = 900;
/// Height of one bar, and of everything around the bars.
const BAR: u32 = 16;
const FRAME: u32 = 110;
const LABELS: u32 = 230;
const FONT: (&str, u32) = ("sans-serif", 14);
const TITLE: (&str, u32) = ("sans-serif", 18);
/// Colours that people tell apart however they see them (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// Draws a picture of each part that has one, into `directory`; gives their files' names.
pub(crate) fn all(results: &Results, directory: &Path) -> Result<Vec<&'static str>> {
    let mut drawn = Vec::new();
    if let Some(rows) = &results.packets {
        packets(rows).draw(&directory.join("packets.svg"))?;
        drawn.push("packets.svg");
    }
    if let Some(rows) = &results.flood {
        flood(rows).draw(&directory.join("flood.svg"))?;
        drawn.push("flood.svg");
    }
    if let Some(rows) = &results.scale {
        sizes(rows, &directory.join("sizes.svg"))?;
        drawn.push("sizes.svg");
    }
    Ok(drawn)
}

/// Bars from left to right, some to each name.
struct Bars {
    title: &'static str,
    unit: &'static str,
    /// What each bar of a name stands for.
    legend: &'static [&'static str],
    names: Vec<&'static str>,
    values: Vec<Vec<f64>>,
}

fn packets(rows: &[per_packet::Row]) -> Bars {
    Bars {
        title: "Cost of a packet above an empty XDP program",
        unit: "nanoseconds",
        legend: &["ntpguard", "xdp-filter"],
        names: rows.iter().map(|row| row.packet).collect(),
        values: rows
            .iter()
            .map(|row| vec![row.above_floor(), row.xdp_filter_above_floor()])
            .collect(),
    }
}

fn flood(rows: &[flood::Row]) -> Bars {
    Bars {
        title: "Flood of unlisted packets dealt with by one CPU",
        unit: "million packets a second",
        legend: &["taken"],
        names: rows.iter().map(|row| row.filter.name()).collect(),
        values: rows.iter().map(|row| vec![row.rate.max / 1e6]).collect(),
    }
}

impl Bars {
    fn draw(&self, path: &Path) -> Result<()> {
        let bars = self.names.len() * (self.legend.len() + 1);
        let height = FRAME + BAR * u32::try_from(bars)?;
        let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
        let most = self.values.iter().flatten().copied().fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, TITLE)
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(0.0..most * 1.1, float(self.names.len())..0.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(self.unit)
            .label_style(FONT)
            .draw()
            .map_err(failed)?;
        let names = self.names.iter().enumerate().map(|(row, name)| {
            let style = FONT
                .into_text_style(&area)
                .pos(Pos::new(HPos::Right, VPos::Center));
            EmptyElement::at((0.0, float(row) + 0.5)) + Text::new(*name, (-8, 0), style)
        });
        chart.draw_series(names).map_err(failed)?;
        for (series, (name, colour)) in self.legend.iter().zip(COLOURS).enumerate() {
            let bars = self.values.iter().enumerate().map(|(row, values)| {
                let value = values.get(series).copied().unwrap_or(0.0).max(0.0);
                let (top, bottom) = self.place(row, series);
                Rectangle::new([(0.0, top), (value, bottom)], colour.filled())
            });
            chart
                .draw_series(bars)
                .map_err(failed)?
                .label(*name)
                .legend(move |point| swatch(point, colour));
        }
        if self.legend.len() > 1 {
            chart
                .configure_series_labels()
                .label_font(FONT)
                .border_style(BLACK)
                .background_style(WHITE)
                .draw()
                .map_err(failed)?;
        }
        area.present().map_err(failed)
    }

    /// Where a bar begins and ends, from the top; each row is 1 high.
    fn place(&self, row: usize, series: usize) -> (f64, f64) {
        let thick = 0.8 / float(self.legend.len());
        let top = float(row) + 0.1 + float(series) * thick;
        (top, top + thick)
    }
}

/// Nanoseconds by the number of entries, for packets that differ.
fn sizes(rows: &[scale::Row], path: &Path) -> Result<()> {
    let entries = |row: &scale::Row| f64::from(row.entries);
    let most = rows
        .iter()
        .map(|row| row.random.max(row.missed))
        .fold(1.0, f64::max);
    let largest = rows.iter().map(entries).fold(1.0, f64::max);
    let area = SVGBackend::new(path, (WIDTH, 420)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "Admitting packets from any of the granted, above the floor",
            TITLE,
        )
        .margin(10)
        .margin_right(40)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .build_cartesian_2d((1.0..largest).log_scale(), (10.0..most * 1.5).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("addresses or prefixes granted")
        .y_desc("nanoseconds")
        .label_style(FONT)
        .x_label_formatter(&|entries| format!("{entries:.0}"))
        .y_label_formatter(&|nanoseconds| format!("{nanoseconds:.0}"))
        .draw()
        .map_err(failed)?;
    for (kind, colour) in scale::Kind::ALL.into_iter().zip(COLOURS) {
        let points = rows.iter().filter(|row| row.kind == kind);
        // A logarithm has no place for what noise puts below the floor.
        let points = points.map(|row| (entries(row), row.random.max(10.0)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(failed)?
            .label(kind.name())
            .legend(move |point| swatch(point, colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(FONT)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()
        .map_err(failed)?;
    area.present().map_err(failed)
}

fn swatch((x, y): (i32, i32), colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are few of anything drawn"
)]
fn float(count: usize) -> f64 {
    count as f64
}

/// The errors of plotters are not of a size that can be kept.
fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}
