//! What programs read of it.

use anyhow::{Result, ensure};
use ntpguard_tests::lab::Lab;
use serde_json::json;

use super::{guarded, ok};

#[test]
fn json_has_its_schema_and_its_fields() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let line = [
            "allowlist",
            "add",
            "198.51.100.0/24",
            "--role",
            "client",
            "--role",
            "control",
            "--ttl",
            "2h",
            "--comment",
            "the lab",
            "--json",
        ];
        let added = guard.json(&line)?;
        ensure!(
            added
                == json!({"schema": 1, "prefix": "198.51.100.0/24", "roles": ["client", "control"],
                            "changed": true, "in_kernel": true}),
            "{added}"
        );
        let listing = guard.json(&["allowlist", "list", "--json"])?;
        ensure!(listing["schema"] == 1, "{listing}");
        let mut row = listing["rows"][0].clone();
        let left = row["ends_in"].take();
        ensure!(
            left.as_u64()
                .is_some_and(|left| (7_100..=7_200).contains(&left)),
            "{left}"
        );
        ensure!(
            row == json!({"prefix": "198.51.100.0/24", "role": "client", "origins": ["manual"],
                          "names": [], "places": [], "ends_in": null, "comments": ["the lab"]}),
            "{row}"
        );
        ensure!(listing["rows"][1]["role"] == "control", "{listing}");
        let removed = guard.json(&[
            "allowlist",
            "remove",
            "198.51.100.0/24",
            "--role",
            "control",
            "--json",
        ])?;
        ensure!(
            removed
                == json!({"schema": 1, "prefix": "198.51.100.0/24", "roles": ["control"],
                              "changed": true, "in_kernel": true}),
            "{removed}"
        );
        let listing = guard.json(&["allowlist", "list", "--json"])?;
        ensure!(
            listing["rows"].as_array().map(Vec::len) == Some(1),
            "{listing}"
        );
        ok(&guard.cli(&["allowlist", "remove", "198.51.100.0/24"])?)?;
    }
    Ok(())
}
