//! The daemon, and the ports that it has or wants.
//!
//! In: what it says of itself, hub.toml. Out: findings. Owns nothing. May not: start or stop anything.

use std::net::{SocketAddr, TcpListener};

use crate::control::client;
use crate::platform::sockets::{control_owner, holder};

use super::{Finding, Scene};

pub(super) fn hub(scene: &Scene<'_>) -> Vec<Finding> {
    const ABOUT: &str = "hub";
    let own = env!("CARGO_PKG_VERSION");
    let about = match &scene.about {
        Ok(about) => about,
        Err(client::Error::NotRunning { .. }) => {
            return vec![match control_owner(&scene.dirs.control_socket) {
                Some(pid) => Finding::fail(ABOUT, format!("a hub (pid {pid}) runs, and does not answer"))
                    .hint(format!("it may be starting or stopping; if it stays so, `kill -9 {pid}` ends it")),
                None => Finding::fail(ABOUT, "hub is not running").hint("start it with `hub up`"),
            }];
        }
        Err(error) => {
            return vec![
                Finding::fail(ABOUT, error.to_string())
                    .hint("the daemon may be of another version than this command: `hub down`, then `hub up`"),
            ];
        }
    };
    let mut findings = Vec::new();
    if about.version == own {
        findings.push(Finding::ok(ABOUT, format!("{own} runs as pid {} on {}", about.pid, about.url)));
    } else {
        let what = format!("{} runs, and this command is {own}", about.version);
        findings.push(Finding::warn(ABOUT, what).hint("`hub down`, then `hub up` runs this version; sessions go on"));
    }
    if let Some(error) = &about.config_error {
        findings.push(
            Finding::fail(ABOUT, format!("the last change of hub.toml was refused: {error}"))
                .hint("what runs is the version before; `hub check` shows what is wrong"),
        );
    }
    if about.config != scene.dirs.config_file.display().to_string() {
        let what = format!("it runs {}, not {}", about.config, scene.dirs.config_file.display());
        findings.push(Finding::warn(ABOUT, what).hint("the daemon was started with another HUB_CONFIG or `--config`"));
    }
    findings
}

/// Ports that somebody else has.
pub(super) fn ports(scene: &Scene<'_>) -> Vec<Finding> {
    const ABOUT: &str = "ports";
    let Some(config) = scene.config() else { return Vec::new() };
    let hint = "stop that program, or give the server another `port` in hub.toml (its clients then need the new URL)";
    if let Ok(about) = &scene.about {
        let refused = about.servers.iter().filter_map(|server| {
            let failure = server.last_failure.as_ref().filter(|failure| failure.stage == "listen")?;
            Some(Finding::fail(ABOUT, format!("{}: {}", server.name, failure.message)).hint(hint))
        });
        let mut findings: Vec<Finding> = refused.collect();
        if findings.is_empty() {
            findings.push(Finding::ok(ABOUT, format!("hub has all of its {} ports", about.servers.len() + 1)));
        }
        return findings;
    }
    let wanted = config.servers.iter().filter(|server| server.enabled);
    let wanted = wanted.filter_map(|server| Some((format!("`{}`", server.name), server.port?)));
    let taken = std::iter::once(("hub".to_owned(), config.hub.port)).chain(wanted).filter_map(|(who, port)| {
        let address = SocketAddr::new(config.hub.host, port);
        let error = TcpListener::bind(address).err().filter(|_| port != 0)?;
        let by = holder(address).map_or_else(|| error.to_string(), |holder| format!("taken by {holder}"));
        Some(Finding::fail(ABOUT, format!("port {port} of {who} cannot be had: {by}")).hint(hint))
    });
    let taken: Vec<Finding> = taken.collect();
    if taken.is_empty() { vec![Finding::ok(ABOUT, "all ports of hub.toml are free")] } else { taken }
}
