//! ntpd-rs's ntp.toml.
//!
//! ntpd-rs refuses a file with any fault in it. Keys that are not known here are not looked at:
//! each release has more.

mod server;
#[cfg(test)]
mod tests;

use std::{net::Ipv6Addr, ops::Range, path::Path, sync::Arc};

use ntpguard_common::{maps::tables::Role, wire::ntp};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Channel, Dialect, Family, Library, Place, Reading,
    host::Spelling,
    reading_builder::{Line, ReadingBuilder},
};

/// The reader of ntp.toml.
#[derive(Clone, Copy, Debug, Default)]
pub struct NtpdRs;

impl Dialect for NtpdRs {
    fn name(&self) -> &'static str {
        "ntpd-rs"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let mut builder = ReadingBuilder::new(files, path, Spelling::NTPD_RS);
        if let Some(text) = builder.open(path, None) {
            let mut reader = Reader {
                builder: &mut builder,
                file: path.into(),
                text: &text,
            };
            reader.read();
            builder.close();
        }
        builder.finish()
    }
}

/// A file being read.
struct Reader<'a, 'f> {
    builder: &'a mut ReadingBuilder<'f>,
    file: Arc<Path>,
    text: &'a str,
}

impl Reader<'_, '_> {
    fn read(&mut self) {
        let table = match DeTable::parse(self.text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let span = error.span().unwrap_or_default();
                return self.broken(span, error.message());
            }
        };
        for source in self.tables(&table, "source") {
            self.source(source);
        }
        let servers = self.tables(&table, "server");
        server::grant(self, &servers);
        let path = table
            .get("observability")
            .and_then(|section| section.get_ref().get("observation-path"))
            .and_then(|path| path.get_ref().as_str());
        if let Some(path) = path {
            let path = self.builder.files().beside(&self.file, path);
            self.builder.channel(Channel::Observation(path));
        }
    }

    /// The tables of `[[name]]`.
    fn tables<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        name: &str,
    ) -> Vec<&'t Spanned<DeValue<'i>>> {
        let Some(value) = table.get(name) else {
            return Vec::new();
        };
        let tables: Option<Vec<_>> = value.get_ref().as_array().map(|array| {
            array
                .iter()
                .filter(|value| value.get_ref().is_table())
                .collect()
        });
        tables.unwrap_or_else(|| {
            self.broken(value.span(), &format!("expected tables, as [[{name}]]"));
            Vec::new()
        })
    }

    fn source(&mut self, source: &Spanned<DeValue<'_>>) {
        let Some(mode) = self.text_of(source, "mode") else {
            return;
        };
        match mode.get_ref().as_str() {
            Some("server" | "pool") => {
                if let Some(address) = self.text_of(source, "address") {
                    self.ntp(address);
                }
            }
            // The address is the key server's. Which NTP server it sends us to, only ntpd-rs
            // knows; mostly it is itself.
            Some("nts" | "nts-pool") => {
                if let Some(address) = self.text_of(source, "address") {
                    let (name, _) = name_and_port(str_of(address));
                    self.host(name, ntp::PORT, address.span());
                }
            }
            Some("sock" | "pps" | "csptp") => {}
            _ => self.broken(
                mode.span(),
                "expected one of server, pool, nts, nts-pool, sock, pps",
            ),
        }
    }

    fn ntp(&mut self, address: &Spanned<DeValue<'_>>) {
        let (name, port) = name_and_port(str_of(address));
        self.host(name, port.unwrap_or(ntp::PORT), address.span());
    }

    fn host(&mut self, name: &str, port: u16, span: Range<usize>) {
        let place = self.place(span);
        self.builder
            .source_at(name, port, Family::Any, &[Role::Server], place);
    }

    /// The text at `key`, which must be there.
    fn text_of<'t, 'i>(
        &mut self,
        table: &'t Spanned<DeValue<'i>>,
        key: &str,
    ) -> Option<&'t Spanned<DeValue<'i>>> {
        let value = table.get_ref().get(key);
        let text = value.filter(|value| value.get_ref().is_str());
        if text.is_none() {
            let span = value.map_or(table.span(), Spanned::span);
            self.broken(span, &format!("expected a text for `{key}`"));
        }
        text
    }

    fn broken(&mut self, span: Range<usize>, message: &str) {
        let place = self.place(span);
        self.builder.broken(
            place,
            format!("{message}: ntpd-rs does not start with this file"),
        );
    }

    /// The place of what begins where `span` does. The quotes of a text belong to it.
    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Line {
            file: Arc::clone(&self.file),
            number: u32::try_from(line).unwrap_or(u32::MAX),
        }
        .at(u32::try_from(column).unwrap_or(u32::MAX))
    }
}

fn str_of<'a>(value: &'a Spanned<DeValue<'_>>) -> &'a str {
    value.get_ref().as_str().unwrap_or_default()
}

/// Splits `HOST`, `HOST:PORT`, `[V6]:PORT`, or an IPv6 address.
fn name_and_port(text: &str) -> (&str, Option<u16>) {
    // An address without a port has colons of its own.
    if text.parse::<Ipv6Addr>().is_ok() {
        return (text, None);
    }
    match text
        .rsplit_once(':')
        .map(|(name, port)| (name, port.parse()))
    {
        Some((name, Ok(port))) => (without_brackets(name), Some(port)),
        _ => (text, None),
    }
}

fn without_brackets(name: &str) -> &str {
    let inside = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    inside.unwrap_or(name)
}
