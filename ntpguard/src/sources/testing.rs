//! What the dialects' tests share: configurations in a directory, and readings as text.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use tempfile::TempDir;

use super::{Dialect, Family, Host, Place, Reading, Severity, Want};

/// A directory of configuration files.
pub(super) struct Tree {
    root: TempDir,
}

impl Tree {
    /// Writes files; `{}` in a text stands for the directory.
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self {
            root: tempfile::tempdir().expect("a directory"),
        };
        for (name, text) in files {
            let path = tree.path(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(
                path,
                text.replace("{}", &tree.root.path().to_string_lossy()),
            )
            .expect("written");
        }
        tree
    }

    /// What a configuration of one file asks for, and what is wrong with it, without its name.
    pub(super) fn lines_of(
        dialect: &dyn Dialect,
        name: &str,
        text: &str,
    ) -> (Vec<String>, Vec<String>) {
        let tree = Self::new(&[(name, text)]);
        let reading = tree.read(dialect, name);
        let short = |lines: Vec<String>| {
            let name = format!("{name}:");
            lines.iter().map(|line| line.replace(&name, "")).collect()
        };
        (short(tree.wants(&reading)), short(tree.problems(&reading)))
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A running process of root's; `{}/` in an argument stands for the directory.
    pub(super) fn process(&self, pid: u32, program: &str, arguments: &[&str]) {
        let directory = self.path("proc").join(pid.to_string());
        fs::create_dir_all(&directory).expect("made");
        let write = |name: &str, text: &str| {
            fs::write(directory.join(name), text).expect("written");
        };
        let root = self.path("").display().to_string();
        write(
            "cmdline",
            &(arguments.join("\0").replace("{}/", &root) + "\0"),
        );
        write("status", "Uid:\t0\t0\t0\t0\n");
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n");
        write("stat", &stat);
        let file = self.path(program.trim_start_matches('/'));
        fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        fs::write(&file, "").expect("written");
        symlink(file, directory.join("exe")).expect("a link");
        symlink(self.path("srv"), directory.join("cwd")).expect("a link");
    }

    /// Reads a file in it.
    pub(super) fn read(&self, dialect: &dyn Dialect, name: &str) -> Reading {
        dialect.read(&self.path(name))
    }

    /// What a reading asks for, a line each: `FILE:LINE:COLUMN WHAT ROLES`.
    pub(super) fn wants(&self, reading: &Reading) -> Vec<String> {
        reading.wants.iter().map(|want| self.want(want)).collect()
    }

    fn want(&self, want: &Want) -> String {
        let (what, roles, place) = match want {
            Want::Source {
                host,
                family,
                port,
                roles,
                place,
            } => {
                let port = match port {
                    123 => String::new(),
                    port => format!(" port {port}"),
                };
                let family = match family {
                    Family::Any => "",
                    Family::V4 => "-4 ",
                    Family::V6 => "-6 ",
                };
                (format!("{family}{}{port}", host_text(host)), roles, place)
            }
            Want::Prefix {
                prefix,
                roles,
                place,
            } => (prefix.to_string(), roles, place),
        };
        let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let roles = if roles.is_empty() {
            "none".to_owned()
        } else {
            roles.join("+")
        };
        format!("{} {what} {roles}", self.place(place))
    }

    /// What is wrong with a reading, a line each: `SEVERITY FILE:LINE:COLUMN`.
    pub(super) fn problems(&self, reading: &Reading) -> Vec<String> {
        reading
            .problems
            .iter()
            .map(|problem| {
                let severity = match problem.severity {
                    Severity::Note => "note",
                    Severity::Error => "error",
                    Severity::Unreadable => "unreadable",
                };
                format!("{severity} {}", self.place(&problem.place))
            })
            .collect()
    }

    fn place(&self, place: &Place) -> String {
        let file = place
            .file
            .strip_prefix(self.root.path())
            .unwrap_or(&place.file);
        format!("{}:{}:{}", file.display(), place.line, place.column)
    }
}

/// A host as a file would name it.
pub(super) fn host_text(host: &Host) -> String {
    match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    }
}

/// Has a dialect read a file of these bytes, which may be no text.
pub(super) fn read_bytes(dialect: &dyn Dialect, name: &str, bytes: &[u8]) -> Reading {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join(name);
    fs::write(&path, bytes).expect("written");
    dialect.read(&path)
}
