//! The requests that the kernel has noted, read to find which of them a stray answer belongs to.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData},
};
use ntpguard_common::{
    maps::{
        requests::{Request, Sent},
        tables::names,
    },
    wire::ntp::{NO_TIMESTAMP, Timestamp},
};

use crate::datapath::{Error, PinDir};

/// A request that was not answered, as far as the kernel still has it: some are older than any reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Which server was asked.
    pub server: SocketAddr,
    /// From where.
    pub local: SocketAddr,
    /// What the answer has to carry.
    pub token: Timestamp,
}

/// The maps that have them.
pub struct OpenRequests {
    v4: [HashMap<MapData, Request<[u8; 4]>, Sent>; 2],
    v6: [HashMap<MapData, Request<[u8; 16]>, Sent>; 2],
}

impl OpenRequests {
    /// Opens the maps in use.
    pub fn open(pins: &PinDir) -> Result<Self, Error> {
        Ok(Self {
            v4: [open(pins, names::TRUSTED_V4)?, open(pins, names::ASKED_V4)?],
            v6: [open(pins, names::TRUSTED_V6)?, open(pins, names::ASKED_V6)?],
        })
    }

    /// What the maps hold, up to `most` of each. Where the kernel changes one meanwhile, some may be missing or
    /// come twice.
    pub fn unanswered(&self, most: usize) -> Vec<Unanswered> {
        let v4 = self.v4.iter().flat_map(|map| keys(map, most));
        let v6 = self.v6.iter().flat_map(|map| keys(map, most));
        v4.chain(v6).collect()
    }
}

impl fmt::Debug for OpenRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRequests").finish_non_exhaustive()
    }
}

fn open<A: Copy + 'static>(
    pins: &PinDir,
    name: &'static str,
) -> Result<HashMap<MapData, Request<A>, Sent>, Error>
where
    Request<A>: Pod,
{
    let map = MapData::from_pin(pins.maps().join(name)).and_then(Map::from_map_data);
    map.and_then(HashMap::try_from)
        .map_err(|source| Error::map(name, "open", source))
}

/// Requests have a timestamp; associations have none.
fn keys<A>(
    map: &HashMap<MapData, Request<A>, Sent>,
    most: usize,
) -> impl Iterator<Item = Unanswered>
where
    A: Copy + Into<IpAddr>,
    Request<A>: Pod,
{
    map.keys()
        .take(most)
        .filter_map(Result::ok)
        .filter(|request| request.token != NO_TIMESTAMP)
        .map(|request| Unanswered {
            server: SocketAddr::new(request.server.into(), request.server_port),
            local: SocketAddr::new(request.local.into(), request.local_port),
            token: request.token,
        })
}
