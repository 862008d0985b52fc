//! `/etc/hosts`: names that are not asked of DNS.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    net::IpAddr,
};

/// A line of more bytes than this is no line of a hosts file.
const LONGEST_LINE: u64 = 65_536;

/// The addresses that a hosts file gives a name, in the file's order.
///
/// The file is read for each question: it is small where it matters, an edit counts at once, and
/// nothing of it stays in memory.
pub(super) fn look_up(file: File, name: &str) -> io::Result<Vec<IpAddr>> {
    let mut reader = BufReader::new(file);
    let mut found = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(found);
        }
        found.extend(address_for(&line, name));
    }
}

/// The address of a line, if it is the name's: `ADDRESS NAME ALIAS... # comment`. A line that is
/// no such thing is passed over, as the system's resolver does.
fn address_for(line: &[u8], name: &str) -> Option<IpAddr> {
    let before_comment = line.split(|byte| *byte == b'#').next()?;
    let mut words = str::from_utf8(before_comment)
        .ok()?
        .split_ascii_whitespace();
    let address = words.next()?.parse().ok()?;
    let mut names = words.map(|word| word.strip_suffix('.').unwrap_or(word));
    names
        .any(|word| word.eq_ignore_ascii_case(name))
        .then_some(address)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn in_file(contents: &[u8], name: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hosts");
        fs::write(&file, contents).unwrap();
        look_up(File::open(file).unwrap(), name)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_address_of_a_name_or_alias_counts() {
        let hosts =
            b"192.0.2.1 ntp.example ntp\n2001:db8::1\tNTP.Example.  # time\n192.0.2.2 other";
        assert_eq!(in_file(hosts, "ntp.example"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(in_file(hosts, "ntp"), ["192.0.2.1"]);
        assert_eq!(in_file(hosts, "other"), ["192.0.2.2"]);
        assert!(in_file(hosts, "example").is_empty());
    }

    #[test]
    fn comments_and_lines_that_are_none_are_passed_over() {
        let hosts = b"# 192.0.2.1 a\n192.0.2.2 # a\nnonsense a\n\xff\xfe a\n\n192.0.2.3 b#a\n192.0.2.4 a\r\n";
        assert_eq!(in_file(hosts, "a"), ["192.0.2.4"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_hides_no_later_line() {
        let mut hosts = vec![b'x'; 1 << 20];
        hosts.extend(b"\n192.0.2.1 a\n");
        assert_eq!(in_file(&hosts, "a"), ["192.0.2.1"]);
    }
}
