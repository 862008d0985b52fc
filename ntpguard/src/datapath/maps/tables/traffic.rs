//! What the kernel writes down of requests and replies.

use std::{collections::BTreeMap, net::IpAddr};

use aya::maps::MapError;
use ntpguard_common::maps::{
    refusals::Refusals,
    requests::{Learned, Requests, Server, UngrantedKey, UngrantedStats},
    tables::names,
};

use super::{Error, Tables, clear, read_all};

impl Tables {
    /// The outbound requests counted since the maps were made, over all CPUs.
    pub fn requests(&self) -> Result<Requests, Error> {
        let per_cpu = self
            .requests
            .get(&0, 0)
            .map_err(|source| Error::map(names::REQUESTS, "read", source))?;
        let mut sum = Requests::default();
        per_cpu.iter().for_each(|requests| sum.add(requests));
        Ok(sum)
    }

    /// The servers that trusted requests went to.
    pub fn learned(&self) -> Result<BTreeMap<IpAddr, Learned>, Error> {
        let v4 = read_all(&self.learned_v4, names::LEARNED_V4)?;
        let v6 = read_all(&self.learned_v6, names::LEARNED_V6)?;
        let v4 = v4.into_iter().map(|(key, value)| (key.into(), value));
        Ok(v4
            .chain(v6.into_iter().map(|(key, value)| (key.into(), value)))
            .collect())
    }

    /// What the servers last said on the wire.
    pub fn servers(&self) -> Result<BTreeMap<IpAddr, Server>, Error> {
        let all = read_all(&self.servers, names::SERVERS)?;
        Ok(all
            .into_iter()
            .map(|(key, value)| (IpAddr::from(key).to_canonical(), value))
            .collect())
    }

    /// The refused packets of servers, over all CPUs.
    pub fn refusals(&self) -> Result<BTreeMap<IpAddr, Refusals>, Error> {
        let entries = self.refusals.iter().map(|entry| {
            let (server, per_cpu) = entry?;
            let mut sum = Refusals::NONE;
            per_cpu.iter().for_each(|refusals| sum.add(refusals));
            Ok((IpAddr::from(server).to_canonical(), sum))
        });
        let all: Result<_, MapError> = entries.collect();
        all.map_err(|source| Error::map(names::REFUSALS, "read", source))
    }

    /// Forgets the servers, asked or heard; for tables that nobody else has, since the kernel writes
    /// them.
    pub(in crate::datapath) fn forget_servers(&mut self) -> Result<(), Error> {
        clear(&mut self.servers, names::SERVERS)?;
        let failed = |source| Error::map(names::REFUSALS, "clear", source);
        let refused: Vec<_> = self
            .refusals
            .keys()
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        for server in refused {
            self.refusals.remove(&server).map_err(failed)?;
        }
        clear(&mut self.learned_v4, names::LEARNED_V4)?;
        clear(&mut self.learned_v6, names::LEARNED_V6)
    }

    /// Who asked servers that nobody granted.
    pub fn ungranted(&self) -> Result<Vec<(UngrantedKey, UngrantedStats)>, Error> {
        read_all(&self.ungranted, names::UNGRANTED)
    }
}
