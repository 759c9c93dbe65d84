//! This file answers: is the configuration right, and what does it amount to?

use serde_json::json;

use super::failure::Failure;
use super::{End, Global};
use crate::config::{Config, Loaded, Sources};

/// `rkv config check`.
pub(crate) fn check(global: &Global, sources: &Sources) -> Result<End, Failure> {
    let loaded = Config::load(sources)?;
    let doors = loaded
        .config
        .check_doors()
        .err()
        .map(|error| error.to_string());
    if let Some(why) = &doors {
        return Err(Failure::usage(why));
    }
    let from = match &sources.file {
        Some(path) => path.display().to_string(),
        None => "defaults".to_owned(),
    };
    let document = json!({"ok": true, "config": from});
    global
        .output()
        .result(&document.to_string(), || format!("ok: {from}\n"))?;
    Ok(End::Done)
}

/// `rkv config show`.
pub(crate) fn show(global: &Global, sources: &Sources) -> Result<End, Failure> {
    let loaded: Loaded = Config::load(sources)?;
    global
        .output()
        .result(&loaded.document().to_string(), || loaded.text())?;
    Ok(End::Done)
}
