//! Tells the programs here where the eBPF objects are that ntpguard's build script made.

use std::env;

fn main() {
    println!("cargo::rerun-if-env-changed=DEP_NTPGUARD_EBPF_OBJECTS");
    if let Ok(objects) = env::var("DEP_NTPGUARD_EBPF_OBJECTS") {
        println!("cargo::rustc-env=NTPGUARD_OBJECTS={objects}");
    }
}
