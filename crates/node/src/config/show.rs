//! This file answers: what holds, and who said so?

use serde_json::{Value, json};

use super::keys::KEYS;
use super::layers::{Loaded, Origin};
use super::{Config, Secret};

impl Loaded {
    /// Every key with the value that holds and where it comes from, in the order of the sections.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Value, String)> {
        let all = serde_json::to_value(&self.config).expect("a configuration is plain data");
        KEYS.iter()
            .map(|key| {
                let path = format!("/{}", key.name.replace('.', "/"));
                let value = all.pointer(&path).cloned().unwrap_or(Value::Null);
                let origin = self.origin(key.name);
                let (value, origin) = match (value, origin) {
                    (Value::Null, Origin::Default) => derived(&self.config, key.name),
                    (value, _) if key.kind.is_secret() => {
                        (hidden(value), self.secret_origin(key.name))
                    }
                    (value, origin) => (value, origin.to_string()),
                };
                (key.name, value, origin)
            })
            .collect()
    }

    /// A secret that was read from a file comes from there.
    fn secret_origin(&self, key: &str) -> String {
        let file = format!("{key}_file");
        match self.origin(&file) {
            Origin::Default => self.origin(key).to_string(),
            _ => file,
        }
    }

    /// As lines for people: TOML keys, values and a comment.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (key, value, origin) in self.rows() {
            let shown = match &value {
                Value::Null => format!("{key} (none)"),
                value => format!("{key} = {value}"),
            };
            text.push_str(&format!("{shown:<44} # {origin}\n"));
        }
        text
    }

    /// As the document for scripts: `{"config":{KEY:{"value":..,"origin":".."}}}`.
    pub(crate) fn document(&self) -> Value {
        let rows = self.rows().into_iter();
        let keys: serde_json::Map<String, Value> = rows
            .map(|(key, value, origin)| (key.to_owned(), json!({"value": value, "origin": origin})))
            .collect();
        json!({ "config": keys })
    }
}

/// The value that a key without one amounts to.
fn derived(config: &Config, key: &str) -> (Value, String) {
    let n = config.default.n.unwrap_or(config.ring.replicas);
    let (value, from) = match key {
        "advertise.redis" => (json!(config.listen.redis), "listen.redis"),
        "advertise.peer" => (json!(config.listen.peer), "listen.peer"),
        "advertise.http" => (json!(config.listen.http), "listen.http"),
        "default.n" => (json!(n), "ring.replicas"),
        "default.r" | "default.w" => (json!(n / 2 + 1), "majority of default.n"),
        _ => return (Value::Null, Origin::Default.to_string()),
    };
    (value, format!("default: {from}"))
}

fn hidden(value: Value) -> Value {
    match value {
        Value::Object(users) => users
            .into_iter()
            .map(|(name, _)| (name, json!(Secret::HIDDEN)))
            .collect(),
        Value::Null => Value::Null,
        _ => json!(Secret::HIDDEN),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    /// Lost without it: a secret in a support ticket, or a value whose origin nobody can find.
    #[test]
    fn values_are_shown_with_their_origin_and_secrets_are_not() {
        let sources = Sources {
            file: None,
            environment: vec![
                ("RKV_CLUSTER__SECRET".into(), "hunter2".into()),
                ("RKV_REDIS__USERS".into(), "ann:hunter2".into()),
            ],
            sets: vec![
                "ring.partitions=16".into(),
                "listen.http=127.0.0.1:1".into(),
            ],
        };
        let loaded = Config::load(&sources).unwrap();
        let text = loaded.text();
        assert!(!text.contains("hunter2") && !loaded.document().to_string().contains("hunter2"));
        for line in [
            "ring.partitions = 16                         # --set",
            "ring.replicas = 3                            # default",
            "cluster.secret = \"***\"                       # RKV_CLUSTER__SECRET",
            "redis.users = {\"ann\":\"***\"}                  # RKV_REDIS__USERS",
            "advertise.http = \"127.0.0.1:1\"               # default: listen.http",
            "default.w = 2                                # default: majority of default.n",
            "node.zone (none)                             # default",
        ] {
            assert!(
                text.lines().any(|it| it == line),
                "{line}\nis not in\n{text}"
            );
        }
        assert!(!format!("{loaded:?}").contains("hunter2"));
    }
}
