//! Packets of servers that were refused: how many, why, and what may be done about it.

use std::net::IpAddr;

use ntpguard_common::maps::{
    refusals::{Cause, Refusals},
    tables::Role,
};
use serde::{Deserialize, Serialize};

/// Packets of one server that were refused for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason that they are counted for.
    pub reason: String,
    /// The role that they would need, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// How many there were since the tables were made. Anyone who forges the server's address can raise this.
    pub packets: u64,
    /// The innocent cause, and what helps.
    pub hint: String,
}

impl Refusal {
    /// What was refused of a server, most packets first. `window` is for how many seconds requests are open.
    pub(crate) fn all_of(server: IpAddr, refusals: &Refusals, window: u32) -> Vec<Self> {
        let mut all: Vec<Self> = Cause::ALL
            .into_iter()
            .filter(|cause| refusals.get(*cause) > 0)
            .map(|cause| Self {
                reason: cause.reason().name().to_owned(),
                lacks: cause.lacks().map(|role| role.name().to_owned()),
                packets: refusals.get(cause),
                hint: hint(server, cause, window),
            })
            .collect();
        all.sort_by_key(|refusal| std::cmp::Reverse(refusal.packets));
        all
    }

    /// The cause in a word or three.
    pub fn cause(&self) -> String {
        match &self.lacks {
            Some(role) => format!("{} (needs {role})", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// What may have led to a refusal where nobody means harm, and what to do then.
fn hint(server: IpAddr, cause: Cause, window: u32) -> String {
    let grant = |option: &str| format!("`ntpguard allowlist add {server} {option}`");
    match cause {
        Cause::Oversize => format!(
            "its replies are longer than the requests: to admit them, {}",
            grant("--allow-long-replies")
        ),
        Cause::Late => format!("its replies take {window} s or longer: raise --reply-window"),
        Cause::Origin => {
            "it replies twice, or its origin timestamp, address or port does not match the \
             request: `ntpguard events --reason origin` shows the packets"
                .to_owned()
        }
        Cause::Unlisted => {
            "only the time daemon queries it, and this answers none of its open requests: a \
             second reply, or a mismatch of origin timestamp, address or port"
                .to_owned()
        }
        Cause::ZeroOrigin => "its origin timestamp is zero, which matches no request".to_owned(),
        Cause::Unsolicited => {
            "no request to it was seen: if requests leave by another interface, guard that too, \
             or use --track off"
                .to_owned()
        }
        Cause::Length => "its packets are too short for NTP".to_owned(),
        Cause::Version => "its packets have an unknown NTP version".to_owned(),
        Cause::Mode => {
            "its packets have a mode or port that replies cannot have: a NAT on the path may \
             rewrite port 123"
                .to_owned()
        }
        Cause::RoleServer
        | Cause::RolePeer
        | Cause::RoleBroadcast
        | Cause::RoleClient
        | Cause::RoleControl => role_hint(cause, &grant),
    }
}

fn role_hint(cause: Cause, grant: &impl Fn(&str) -> String) -> String {
    let role = cause.lacks().unwrap_or(Role::Server);
    let what = match role {
        Role::Server => "it sends replies without the role",
        Role::Peer => "it sends symmetric packets (mode 1 or 2)",
        Role::Broadcast => "it broadcasts time",
        Role::Client => "it requests the time from this host",
        Role::Control => "it sends control messages (mode 6), such as replies to ntpq",
    };
    let option = format!("--role {}", role.name());
    format!("{what}: to allow it, {}", grant(&option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_cause_comes_first_and_a_role_is_told_with_its_cure() {
        let refusals = Refusals {
            oversize: 20,
            role_control: 3,
            late: 7,
            ..Refusals::NONE
        };
        let server = "192.0.2.1".parse().unwrap();
        let all = Refusal::all_of(server, &refusals, 16);
        let causes: Vec<_> = all.iter().map(Refusal::cause).collect();
        assert_eq!(causes, ["oversize", "late", "role (needs control)"]);
        assert!(all[0].hint.contains("add 192.0.2.1 --allow-long-replies"));
        assert!(all[1].hint.contains("16 s") && all[1].hint.contains("--reply-window"));
        assert!(all[2].hint.contains("add 192.0.2.1 --role control"));
    }
}
