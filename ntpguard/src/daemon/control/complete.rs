//! What a status has that the daemon's loop does not know.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    api::protocol::Reply,
    offload::Turns,
    telemetry::EventHub,
    trust::{self, Sender},
};

/// How long the names of cgroups are looked for.
const NAMES: Duration = Duration::from_secs(1);

/// Looks for them, for one client at a time.
static NAMING: Turns<BTreeMap<u64, Sender>> = Turns::new("ntpguard-cgroups");

/// A status with what the daemon's loop does not know: the answers that went astray, which the reader of
/// events finds, and the names of cgroups, which take a while.
pub(super) async fn complete(reply: Reply, hub: &EventHub) -> Reply {
    let Reply::Status(mut status) = reply else {
        return reply;
    };
    status.traffic.astray = hub.astray();
    let numbers = status.traffic.senders();
    if !numbers.is_empty() {
        let named = NAMING.within(NAMES, move || trust::senders(&numbers)).await;
        // Without names, the rest is still an answer.
        status.traffic.name_senders(&named.unwrap_or_default());
    }
    Reply::Status(status)
}
