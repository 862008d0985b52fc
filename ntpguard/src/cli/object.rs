//! `ntpguard object`: the program for those who chain it with others.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use ntpguard::datapath::{Settings, Tracking, object::chained};
use ntpguard_common::{
    maps::{rates::Rates, requests::REPLY_WINDOW},
    wire::packet::Link,
};

use super::{args::ObjectArgs, tracking::tracked};

pub(crate) fn run(args: &ObjectArgs) -> Result<ExitCode> {
    let object = chained::chainable(Settings {
        mode: args.mode.unwrap_or_default(),
        link: if args.raw_ip {
            Link::RawIp
        } else {
            Link::Ethernet
        },
        // Nobody loads it again when such servers come or go.
        other_ports: true,
        tracking: Tracking {
            window: args.reply_window.unwrap_or(REPLY_WINDOW),
            ..tracked(args.track, args.learn, args.zero_transmit)
        },
        rates: Rates::per_second(
            args.client_rate.unwrap_or(Rates::CLIENT),
            args.total_rate.unwrap_or(Rates::TOTAL),
            [0; 2],
        ),
        ..Settings::default()
    })?;
    fs::write(&args.file, object)
        .with_context(|| format!("cannot write {}", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}
