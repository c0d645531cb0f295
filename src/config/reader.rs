//! Reads keys from the command line, the environment and the file, in this order of precedence, and collects every
//! fault instead of stopping at the first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

/// What is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One key of the configuration, for the reference.
#[derive(Clone, Debug)]
pub struct Key {
    /// Name in the file, with its table: `retry.max_attempts`.
    pub name: &'static str,
    /// Its default, as written in the file; empty for none.
    pub default: String,
    /// The values it takes.
    pub values: String,
    /// What it does.
    pub meaning: &'static str,
}

impl Key {
    /// The environment variable of the key.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

fn variable(key: &str) -> String {
    format!("RAM_FACADE_{}", key.replace('.', "_").to_uppercase())
}

/// The three sources, and what reading them brought up.
#[derive(Debug, Default)]
pub(super) struct Reader {
    flags: BTreeMap<&'static str, String>,
    variables: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    keys: Vec<Key>,
    faults: Vec<Fault>,
}

impl Reader {
    /// Reads from `flags`, `variables` and the text of a TOML `file`.
    #[must_use]
    pub(super) fn new(
        flags: BTreeMap<&'static str, String>,
        variables: BTreeMap<String, String>,
        file: Option<&str>,
    ) -> Self {
        let mut reader = Self {
            flags,
            variables,
            ..Self::default()
        };
        match file.map(str::parse::<toml::Table>) {
            Some(Ok(table)) => reader.flatten("", &table),
            Some(Err(error)) => reader.fault(format!("the file is not TOML: {error}")),
            None => {}
        }
        reader
    }

    fn flatten(&mut self, prefix: &str, table: &toml::Table) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                toml::Value::Table(inner) => self.flatten(&key, inner),
                toml::Value::String(text) => drop(self.file.insert(key, text.clone())),
                other => drop(self.file.insert(key, other.to_string())),
            }
        }
    }

    /// Notes a fault that no single key shows.
    pub(super) fn fault(&mut self, text: impl Into<String>) {
        self.faults.push(Fault(text.into()));
    }

    /// The value of a key as text and where it comes from.
    fn raw(&self, key: &'static str) -> Option<(String, String)> {
        let flag = || {
            self.flags
                .get(key)
                .map(|v| (v.clone(), format!("--{}", key.replace(['.', '_'], "-"))))
        };
        let name = variable(key);
        let variable = || self.variables.get(&name).map(|v| (v.clone(), name.clone()));
        let file = || self.file.get(key).map(|v| (v.clone(), "the file".to_owned()));
        flag().or_else(variable).or_else(file)
    }

    /// A key that may be left out. `values` describes what it takes.
    pub(super) fn optional<T: FromStr>(
        &mut self,
        key: &'static str,
        values: &str,
        meaning: &'static str,
    ) -> Option<T> {
        self.keys.push(Key {
            name: key,
            default: String::new(),
            values: values.to_owned(),
            meaning,
        });
        let (text, from) = self.raw(key)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(format!(
                "{key} ({}) in {from} is `{text}`, must be {values}",
                variable(key)
            ));
        }
        parsed
    }

    /// A key with a default.
    pub(super) fn or_default<T: FromStr + Display>(
        &mut self,
        key: &'static str,
        default: T,
        values: &str,
        meaning: &'static str,
    ) -> T {
        let value = self.optional(key, values, meaning);
        if let Some(last) = self.keys.last_mut() {
            last.default = default.to_string();
        }
        value.unwrap_or(default)
    }

    /// A number within a range.
    pub(super) fn number<T: FromStr + Display + PartialOrd + Copy>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
        meaning: &'static str,
    ) -> T {
        let values = format!("a number from {} to {}", range.start(), range.end());
        let value = self.or_default(key, default, &values, meaning);
        if range.contains(&value) {
            return value;
        }
        self.fault(format!(
            "{key} ({}) is `{value}`, must be {values}",
            variable(key)
        ));
        default
    }

    /// A time in milliseconds within a range.
    pub(super) fn millis(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<u64>,
        meaning: &'static str,
    ) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(key, default, range, meaning))
    }

    /// A time in seconds within a range.
    pub(super) fn seconds(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<u64>,
        meaning: &'static str,
    ) -> Duration {
        Duration::from_secs(self.number(key, default.as_secs(), range, meaning))
    }

    /// The faults of the keys that were read, for who reads a part of them.
    #[must_use]
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Checks that the file has no other keys, and returns the keys, the faults and the variables that mean nothing.
    #[must_use]
    pub(super) fn finish(mut self) -> Finished {
        let known: BTreeSet<_> = self.keys.iter().map(|k| k.name).collect();
        let unknown: Vec<_> = self
            .file
            .keys()
            .filter(|k| !known.contains(k.as_str()))
            .cloned()
            .collect();
        for key in unknown {
            self.fault(format!(
                "{key} in the file is no key of this program; see docs/configuration.md"
            ));
        }
        // Not a fault: Kubernetes puts variables like RAM_FACADE_PORT into every pod beside a service named ram-facade.
        let variables: BTreeSet<_> = self.keys.iter().map(Key::variable).collect();
        let stray = self
            .variables
            .into_keys()
            .filter(|v| v.starts_with("RAM_FACADE_") && !variables.contains(v));
        Finished {
            keys: self.keys,
            faults: self.faults,
            stray: stray.collect(),
        }
    }
}

/// What reading brought up.
#[derive(Debug)]
pub(super) struct Finished {
    /// Every key that was asked for.
    pub(super) keys: Vec<Key>,
    /// Everything that is wrong.
    pub(super) faults: Vec<Fault>,
    /// Variables that begin as ours do and are no key.
    pub(super) stray: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(file: &str) -> Reader {
        let variables = [("RAM_FACADE_A_B".to_owned(), "2".to_owned())];
        Reader::new(
            BTreeMap::from([("c", "3".to_owned())]),
            variables.into(),
            Some(file),
        )
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
        let mut reader = reader("c = 9\nd = 4\n[a]\nb = 9");

        assert_eq!(reader.number("a.b", 1, 0..=9, ""), 2);
        assert_eq!(reader.number("c", 1, 0..=9, ""), 3);
        assert_eq!(reader.number("d", 1, 0..=9, ""), 4);
        assert_eq!(reader.number("e", 1, 0..=9, ""), 1);
        assert_eq!(reader.finish().faults, []);
    }

    #[test]
    fn every_fault_is_reported_with_its_key_and_variable() {
        let mut reader = reader("d = \"x\"\ne = 10\nf = 1");
        let _ = (
            reader.number("d", 1, 0..=9, ""),
            reader.number("e", 1, 0..=9, ""),
            reader.number("c", 1, 0..=9, ""),
        );

        let faults: Vec<_> = reader.finish().faults.into_iter().map(|f| f.0).collect();

        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("d (RAM_FACADE_D) in the file is `x`"));
        assert!(faults[1].contains("e (RAM_FACADE_E) is `10`, must be a number from 0 to 9"));
        assert!(faults[2].contains("f in the file is no key"));
    }

    #[test]
    fn a_variable_that_is_no_key_is_named_but_no_fault() {
        let finished = reader("").finish();

        assert_eq!(finished.faults, []);
        assert_eq!(finished.stray, ["RAM_FACADE_A_B"]);
    }
}
