//! What holds of a state file that cannot be read: the manual denials. They take something away, so they are
//! safe to believe even where the rest is damaged, or means something that this version does not know.

use ipnet::IpNet;
use ntpguard_common::maps::tables::Origin;
use serde::Deserialize;

use crate::{
    allowlist::{
        claim::{Claim, DENIED},
        row::Row,
    },
    clock::BootSeconds,
    scope::Scope,
};

/// A row, as far as a denial needs it. What a newer version adds is left out.
#[derive(Deserialize)]
struct AnyRow {
    prefix: IpNet,
    scope: Option<String>,
    role: String,
    origin: String,
    left: Option<u32>,
    comment: Option<String>,
}

/// The manual denials in a text, whatever is around them.
pub(super) fn denials(text: &str) -> Vec<Row> {
    let objects = text.match_indices('{').filter_map(|(start, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter();
        values.next()?.ok()
    });
    objects
        .filter(|row: &AnyRow| row.role == DENIED && row.origin == Origin::Manual.name())
        .map(denial)
        .collect()
}

fn denial(row: AnyRow) -> Row {
    let claim = Claim {
        // Without one that can be read it holds on every interface.
        scope: row.scope.as_deref().and_then(Scope::new),
        comment: row.comment,
        ..Claim::new(row.prefix, Origin::Manual)
    };
    Row {
        left: row.left,
        ..Row::of(&claim, BootSeconds(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_on_an_interface_holds_there_or_if_that_is_damaged_everywhere() {
        let row = |scope| {
            format!(r#"{{"prefix":"fe80::1/128","scope":{scope},"role":"none","origin":"manual"}}"#)
        };
        let scopes = [r#""eth0""#, r#""e/0""#, "null"].map(|scope| {
            let denied = denials(&row(scope));
            denied[0]
                .scope
                .as_ref()
                .map(|scope| scope.name().to_owned())
        });
        assert_eq!(scopes, [Some("eth0".to_owned()), None, None]);
    }
}
