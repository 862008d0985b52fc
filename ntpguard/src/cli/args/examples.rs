//! The examples below the help of each command. A test runs each through the parser.

pub(super) const TOP_LEVEL: &str = "\
Examples:
  Count what would be dropped, without dropping it:
    ntpguard run --mode monitor

  Show the guard's status:
    ntpguard status";

pub(super) const RUN: &str = "\
Examples:
  Guard eth0, counting what would be dropped:
    ntpguard run -i eth0 --mode monitor

  Show what would be granted, and exit:
    ntpguard run --check

  Apply changed options without leaving a gap:
    ntpguard run -i eth0 --mode enforce --replace";

pub(super) const STATUS: &str = "\
Examples:
  Wait until the guard is ready:
    ntpguard status --wait 30

  Print all rows and fields:
    ntpguard status --json";

pub(super) const SOURCES: &str = "\
Examples:
  Show which configured sources are not in use:
    ntpguard sources

  The same for programs:
    ntpguard sources --json";

pub(super) const ALLOWLIST: &str = "\
Examples:
  Show who can do what, and why:
    ntpguard allowlist list

  Grant a server:
    ntpguard allowlist add 192.0.2.1";

pub(super) const LIST: &str = "\
Examples:
  List all grants:
    ntpguard allowlist list

  The same for programs:
    ntpguard allowlist list --json";

pub(super) const ADD: &str = "\
Examples:
  Grant a server:
    ntpguard allowlist add 192.0.2.1

  Serve a network:
    ntpguard allowlist add 198.51.100.0/24 --role client

  Deny an address for two hours:
    ntpguard allowlist add 198.51.100.66 --role none --ttl 2h --comment abuse";

pub(super) const REMOVE: &str = "\
Examples:
  Remove all manual grants of an address:
    ntpguard allowlist remove 192.0.2.1

  Stop serving a network:
    ntpguard allowlist remove 198.51.100.0/24 --role client";

pub(super) const UPDATE: &str = "\
Examples:
  Apply changes of configuration files and DNS now:
    ntpguard allowlist update

  The same for programs:
    ntpguard allowlist update --json";

pub(super) const EVENTS: &str = "\
Examples:
  Show ten packets from addresses without a grant:
    ntpguard events --reason unlisted --count 10

  Follow all verdicts as JSON:
    ntpguard events --json";

pub(super) const TOP: &str = "\
Examples:
  Show the top senders:
    ntpguard top

  Print all rows:
    ntpguard top --json";

pub(super) const EXEC: &str = "\
Examples:
  Run chronyd in the foreground, as a runit or s6 service:
    ntpguard exec -- /usr/sbin/chronyd -d

  Name the cgroup:
    ntpguard exec --name ntp-eu -- /usr/sbin/ntpd -n -c /etc/ntp-eu.conf";

pub(super) const OBJECT: &str = "\
Examples:
  Write an object for Ethernet interfaces:
    ntpguard object /etc/ntpguard/ntpguard.bpf.o

  Write one for WireGuard that only counts:
    ntpguard object /etc/ntpguard/wg.bpf.o --raw-ip --mode monitor";

pub(super) const UNLOAD: &str = "\
Examples:
  Detach a guard that was left attached by `run --persist`:
    ntpguard unload

  Detach a second guard:
    ntpguard unload --pin-dir /sys/fs/bpf/second --state-dir /var/lib/second";
