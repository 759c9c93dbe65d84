//! This file answers: where does each value come from, and which one holds?
//!
//! Later layers win: defaults, the file, the environment, the command line. Everything that is wrong is found in one
//! go, since a person who mends a file wants to do it once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{self, KEYS};
use super::{Config, Secret};

/// What the layers above the defaults are made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// The configuration file, if one was named.
    pub(crate) file: Option<PathBuf>,
    /// The environment's variables; those that are none of ours are passed over.
    pub(crate) environment: Vec<(String, String)>,
    /// `KEY=VALUE` of the command line, in order.
    pub(crate) sets: Vec<String>,
}

impl Sources {
    /// With this process's environment.
    pub(crate) fn here(file: Option<PathBuf>, sets: Vec<String>) -> Sources {
        let text = |it: std::ffi::OsString| it.to_string_lossy().into_owned();
        Sources {
            file,
            environment: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            sets,
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This variable of the environment.
    Environment(String),
    /// The command line.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => path.display().fmt(f),
            Origin::Environment(name) => f.write_str(name),
            Origin::Set => f.write_str("--set"),
        }
    }
}

/// A configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What holds.
    pub(crate) config: Config,
    /// Where from; keys that nobody set are absent.
    origins: BTreeMap<&'static str, Origin>,
}

impl Loaded {
    /// Where the value of `key` comes from.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// All that is wrong with a configuration: yours, to be mended before anything starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

/// What has been gathered, key by key; a later layer replaces.
#[derive(Default)]
struct Layers {
    values: BTreeMap<&'static str, (Option<Value>, Origin)>,
    wrong: Vec<String>,
}

pub(super) fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::default();
    if let Some(path) = &sources.file {
        layers.file(path);
    }
    let mut environment: Vec<_> = sources.environment.iter().collect();
    environment.sort();
    for (name, text) in environment {
        layers.variable(name, text);
    }
    for set in &sources.sets {
        layers.set(set);
    }
    layers.finish()
}

impl Layers {
    fn file(&mut self, path: &Path) {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(why) => {
                return self
                    .wrong
                    .push(format!("cannot read --config {shown}: {why}"));
            }
        };
        match text.parse::<Table>() {
            Ok(table) => self.table("", table, path),
            Err(why) => self
                .wrong
                .push(format!("{shown}: {}", why.to_string().trim_end())),
        }
    }

    fn table(&mut self, prefix: &str, table: Table, path: &Path) {
        for (name, value) in table {
            let name = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}.{name}")
            };
            let key = keys::find(&name);
            match (key, value) {
                (Some(key), value) => match key.check(value) {
                    Ok(value) => self.take(key.name, Some(value), Origin::File(path.to_owned())),
                    Err(why) => self.wrong.push(format!("{}: {why}", path.display())),
                },
                (None, Value::Table(inner)) if is_section(&name) => self.table(&name, inner, path),
                (None, Value::Table(inner)) if prefix.is_empty() && !inner.is_empty() => {
                    self.table(&name, inner, path);
                }
                (None, _) => self
                    .wrong
                    .push(format!("{}: {}", path.display(), unknown(&name))),
            }
        }
    }

    /// `RKV_LISTEN__REDIS` is `listen.redis`; names without a double underscore are no configuration.
    fn variable(&mut self, name: &str, text: &str) {
        let Some(path) = name.strip_prefix("RKV_").filter(|path| path.contains("__")) else {
            return;
        };
        let dotted = path.replace("__", ".").to_lowercase();
        let Some(key) = keys::find(&dotted) else {
            return self.wrong.push(format!("{name}: {}", unknown(&dotted)));
        };
        match key.parse(text) {
            Ok(value) => self.take(key.name, value, Origin::Environment(name.to_owned())),
            Err(why) => self.wrong.push(format!("{name}: {why}")),
        }
    }

    fn set(&mut self, set: &str) {
        let Some((name, text)) = set.split_once('=') else {
            return self.wrong.push(format!("--set {set:?}: must be KEY=VALUE"));
        };
        let Some(key) = keys::find(name) else {
            return self.wrong.push(format!("--set: {}", unknown(name)));
        };
        if key.kind.is_secret() {
            return self.wrong.push(format!(
                "--set {name}: a secret on the command line can be read by every user of this machine: put it into \
                 a file and give `--set {name}_file=PATH`, or set {} in the environment",
                variable_of(name)
            ));
        }
        match key.parse(text) {
            Ok(value) => self.take(key.name, value, Origin::Set),
            Err(why) => self.wrong.push(format!("--set: {why}")),
        }
    }

    /// A secret and the file of it are two ways to say one thing: the later layer's holds, and one layer cannot have
    /// both.
    fn take(&mut self, key: &'static str, value: Option<Value>, origin: Origin) {
        if let Some(other) = twin(key) {
            match self.values.get(other) {
                Some((Some(_), earlier)) if same_layer(earlier, &origin) && value.is_some() => {
                    return self
                        .wrong
                        .push(format!("{key} and {other} are both set: keep one of them"));
                }
                _ => drop(self.values.remove(other)),
            }
        }
        self.values.insert(key, (value, origin));
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        let mut all = Table::new();
        for (key, (value, _)) in &self.values {
            let (section, name) = key.split_once('.').expect("every key has a section");
            let section = all
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let (Value::Table(section), Some(value)) = (section, value.clone()) {
                section.insert(name.to_owned(), value);
            }
        }
        let mut config: Config = match Value::Table(all).try_into() {
            Ok(config) => config,
            Err(why) => {
                self.wrong.push(why.to_string());
                return Err(ConfigError(self.wrong));
            }
        };
        read_secrets(&mut config, &mut self.wrong);
        if self.wrong.is_empty() {
            self.wrong = config.contradictions();
        }
        if !self.wrong.is_empty() {
            return Err(ConfigError(self.wrong));
        }
        let origins = self
            .values
            .into_iter()
            .map(|(key, (_, origin))| (key, origin))
            .collect();
        Ok(Loaded { config, origins })
    }
}

/// The other way to set the same secret.
fn twin(key: &'static str) -> Option<&'static str> {
    let other = match key.strip_suffix("_file") {
        Some(secret) => secret.to_owned(),
        None => format!("{key}_file"),
    };
    keys::find(&other).map(|key| key.name)
}

fn same_layer(one: &Origin, other: &Origin) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn is_section(name: &str) -> bool {
    KEYS.iter()
        .any(|key| key.name.split('.').next() == Some(name))
}

fn unknown(name: &str) -> String {
    let advice = match keys::suggestion(name) {
        _ if is_section(name) => format!("it is a section: [{name}]"),
        Some(near) => format!("did you mean `{near}`?"),
        None => "`rkv config show` lists all keys".to_owned(),
    };
    format!("unknown key `{name}`: {advice}")
}

fn variable_of(key: &str) -> String {
    format!("RKV_{}", key.replace('.', "__").to_uppercase())
}

/// Reads the files that secrets lie in.
fn read_secrets(config: &mut Config, wrong: &mut Vec<String>) {
    let mut read = |key: &str, path: &Option<PathBuf>| -> Option<String> {
        let path = path.as_ref()?;
        let text = std::fs::read_to_string(path);
        let found = match text
            .as_deref()
            .map(|text| text.trim_end_matches(['\r', '\n']))
        {
            Ok("") => format!("{key}: {} is empty", path.display()),
            Ok(secret) => return Some(secret.to_owned()),
            Err(why) => format!("{key}: cannot read {}: {why}", path.display()),
        };
        wrong.push(found);
        None
    };
    let pairs = [
        (
            "cluster.secret_file",
            &config.cluster.secret_file,
            &mut config.cluster.secret,
        ),
        (
            "cluster.client_secret_file",
            &config.cluster.client_secret_file,
            &mut config.cluster.client_secret,
        ),
        (
            "redis.password_file",
            &config.redis.password_file,
            &mut config.redis.password,
        ),
        (
            "http.token_file",
            &config.http.token_file,
            &mut config.http.token,
        ),
    ];
    for (key, path, secret) in pairs {
        if let Some(text) = read(key, path) {
            *secret = Some(Secret::from(text.as_str()));
        }
    }
    if let Some(text) = read("redis.users_file", &config.redis.users_file) {
        match keys::users_in(&text, '\n') {
            Ok(users) => {
                let users = users
                    .iter()
                    .filter_map(|(name, it)| Some((name.clone(), Secret::from(it.as_str()?))));
                config.redis.users = users.collect();
            }
            Err(why) => wrong.push(format!("redis.users_file {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn sources(
        file: Option<&tempfile::NamedTempFile>,
        environment: &[(&str, &str)],
        sets: &[&str],
    ) -> Sources {
        Sources {
            file: file.map(|file| file.path().to_owned()),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            sets: sets.iter().map(|set| (*set).into()).collect(),
        }
    }

    fn wrong(sources: &Sources) -> String {
        load(sources).unwrap_err().to_string()
    }

    /// Lost without it: a value that an operator set would be overruled by one that should give way.
    #[test]
    fn later_layers_win() {
        let file = file("[listen]\nredis = 'file:1'\npeer = 'file:2'\nhttp = 'file:3'\n");
        let environment = [
            ("RKV_LISTEN__PEER", "env:2"),
            ("RKV_LISTEN__HTTP", "env:3"),
            ("RKV_NODE", "http://x"),
        ];
        let loaded = load(&sources(Some(&file), &environment, &["listen.http=set:3"])).unwrap();
        let listen = &loaded.config.listen;
        assert_eq!(
            [&listen.redis, &listen.peer, &listen.http],
            ["file:1", "env:2", "set:3"]
        );
        assert_eq!(loaded.config.ring, Config::default().ring);
        assert_eq!(
            loaded.origin("listen.redis"),
            Origin::File(file.path().to_owned())
        );
        assert_eq!(
            loaded.origin("listen.peer"),
            Origin::Environment("RKV_LISTEN__PEER".into())
        );
        assert_eq!(loaded.origin("listen.http"), Origin::Set);
        assert_eq!(loaded.origin("ring.partitions"), Origin::Default);
    }

    /// Lost without it: a key nobody reads would look as if it were set.
    #[test]
    fn unknown_keys_are_errors_with_a_suggestion_in_every_layer() {
        let in_file = file("[ring]\npartition = 16\n");
        let said = wrong(&sources(
            Some(&in_file),
            &[("RKV_LISTEN__REDSI", "x")],
            &["ringg.replicas=3"],
        ));
        for meant in [
            "`ring.partition`: did you mean `ring.partitions`",
            "`listen.redis`?",
            "`ring.replicas`?",
        ] {
            assert!(said.contains(meant), "{said}");
        }
        let section = file("[rings]\nreplicas = 16\n");
        assert!(wrong(&sources(Some(&section), &[], &[])).contains("did you mean `ring.replicas`"));
        assert!(wrong(&sources(None, &[], &["ring=3"])).contains("section"));
    }

    /// Lost without it: a secret would stand in the list of processes and in shell histories.
    #[test]
    fn secrets_stay_off_the_command_line() {
        for key in [
            "cluster.secret",
            "cluster.client_secret",
            "redis.password",
            "redis.users",
            "http.token",
        ] {
            let said = wrong(&sources(None, &[], &[&format!("{key}=hunter2")]));
            assert!(said.contains(&format!("{key}_file")), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    /// Lost without it: a secret file would count with its line end, or an old secret would overrule it.
    #[test]
    fn a_secret_may_lie_in_a_file_and_the_later_layer_holds() {
        let secret = file("hunter2\n");
        let path = secret.path().display();
        let old = file("[cluster]\nsecret = 'old'\n");
        let loaded = load(&sources(
            Some(&old),
            &[],
            &[&format!("cluster.secret_file={path}")],
        ))
        .unwrap();
        assert_eq!(loaded.config.cluster.secret, Some("hunter2".into()));
        let by_file = file(&format!("[cluster]\nsecret_file = '{path}'\n"));
        let loaded = load(&sources(
            Some(&by_file),
            &[("RKV_CLUSTER__SECRET", "new")],
            &[],
        ))
        .unwrap();
        assert_eq!(loaded.config.cluster.secret, Some("new".into()));
        let both = file(&format!("[http]\ntoken_file = '{path}'\ntoken = 'x'\n"));
        assert!(wrong(&sources(Some(&both), &[], &[])).contains("keep one of them"));
        assert!(
            wrong(&sources(None, &[], &["http.token_file=/nowhere"])).contains("http.token_file")
        );
    }

    /// Lost without it: quorums that no request can meet would be found out by the first request.
    #[test]
    fn keys_are_judged_together() {
        for (sets, key) in [
            (&["default.w=4"][..], "default.w"),
            (&["default.n=2", "default.r=3"], "default.r"),
            (&["default.n=4"], "default.n"),
            (&["ring.replicas=2", "default.w=3"], "default.w"),
        ] {
            assert!(wrong(&sources(None, &[], sets)).contains(key), "{sets:?}");
        }
        assert!(
            load(&sources(
                None,
                &[],
                &["default.n=3", "default.w=3", "default.r=1"]
            ))
            .is_ok()
        );
    }

    fn workspace(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../config")
            .join(file)
    }

    /// Lost without it: the file that people read would say something else than what holds.
    #[test]
    fn the_default_file_says_what_the_struct_says() {
        let text = std::fs::read_to_string(workspace("default.toml")).unwrap();
        let loaded = load(&Sources {
            file: Some(workspace("default.toml")),
            ..Sources::default()
        })
        .unwrap();
        let set: Table = text.parse().unwrap();
        for key in KEYS {
            let (section, name) = key.name.split_once('.').unwrap();
            let lines = text
                .split(&format!("\n[{section}]\n"))
                .nth(1)
                .expect(section);
            let lines = lines.split("\n[").next().unwrap();
            let active = set.get(section).is_some_and(|it| it.get(name).is_some());
            let wanted = if active {
                format!("\n{name} = ")
            } else {
                format!("\n# {name} = ")
            };
            assert!(
                format!("\n{lines}").contains(&wanted),
                "{} is not in config/default.toml",
                key.name
            );
        }
        // the name is this machine's, so it is commented out
        assert_eq!(loaded.config, Config::default());
    }

    /// Lost without it: the tutorial's three nodes would not start, or not beside each other.
    #[test]
    fn the_shipped_files_are_good() {
        for (i, node) in ["node1", "node2", "node3"].into_iter().enumerate() {
            let file = Some(workspace(&format!("{node}.toml")));
            let config = load(&Sources {
                file,
                ..Sources::default()
            })
            .unwrap()
            .config;
            assert_eq!(config.node.name, node);
            assert_eq!(config.node.data_dir, Path::new("data").join(node));
            assert_eq!(config.listen.redis, format!("127.0.0.1:6{}79", i + 3));
            assert_eq!(config.listen.peer, format!("127.0.0.1:8{}99", i + 1));
            assert_eq!(config.listen.http, format!("127.0.0.1:8{}98", i + 1));
            assert_eq!(config.ring.partitions, 16);
        }
        load(&Sources {
            file: Some(workspace("ct.toml")),
            ..Sources::default()
        })
        .unwrap();
    }
}
