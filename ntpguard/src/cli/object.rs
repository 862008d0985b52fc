//! `ntpguard object`: writes the program as libxdp chains it with others.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};
use ntpguard::{
    datapath::{Settings, Tracking, object::chained},
    flags,
};
use ntpguard_common::{
    maps::{rates::Rates, requests::REPLY_WINDOW},
    wire::packet::Link,
};

use super::args::ObjectArgs;

pub(crate) fn run(args: &ObjectArgs) -> Result<ExitCode> {
    let policy = &args.policy;
    let object = chained::chainable(Settings {
        mode: policy.mode.unwrap_or_default(),
        link: if args.raw_ip {
            Link::RawIp
        } else {
            Link::Ethernet
        },
        // It is not loaded again when such servers come or go.
        other_ports: true,
        tracking: Tracking {
            window: policy.reply_window.unwrap_or(REPLY_WINDOW),
            ..flags::tracking(policy.track, policy.learn, policy.zero_transmit)
        },
        rates: Rates::per_second(
            policy.client_rate.unwrap_or(Rates::CLIENT),
            policy.total_rate.unwrap_or(Rates::TOTAL),
            [0; 2],
        ),
        ..Settings::default()
    })?;
    fs::write(&args.file, object)
        .with_context(|| format!("cannot write {}", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}
