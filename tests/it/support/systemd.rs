//! A `systemctl --user` that keeps one unit, in a script of a few lines.
//!
//! In: the words that hub types. Out: a started or stopped daemon, a list of what was asked. Owns its folder. May not:
//! understand more of a unit than hub writes.

use super::hub::Hub;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const SYSTEMCTL: &str = r#"#!/bin/bash
dir=$(dirname "$0")/../systemd
unit=$XDG_CONFIG_HOME/systemd/user/hub.service
shift
echo "$*" >>"$dir/calls"
[ -e "$dir/silent" ] && { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
pid() { cat "$dir/pid" 2>/dev/null; }
stop() { kill "$(pid)" 2>/dev/null; while kill -0 "$(pid)" 2>/dev/null; do sleep 0.02; done; rm -f "$dir/pid"; }
start() {
  [ -e "$dir/broken" ] && { echo "Job for hub.service failed." >&2; exit 1; }
  exec 3<&- </dev/null >>"$dir/log" 2>&1
  words=(-i "HOME=$HOME" "XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR" "HUB_IT_MARK=$HUB_IT_MARK")
  while read -r line; do words+=("$line"); done < <(sed -n 's/^Environment="\(.*\)"$/\1/p' "$unit")
  setsid env "${words[@]}" "$(sed -n 's/^ExecStart="\(.*\)" serve$/\1/p' "$unit")" serve &
  echo $! >"$dir/pid"
}
case "$*" in
  "show --property=Version"*) echo 252;;
  show-environment) printf 'HOME=%s\nLANG=C\n' "$HOME";;
  show\ *)
    [ -e "$dir/loaded" ] && echo LoadState=loaded || echo LoadState=not-found
    [ -e "$dir/enabled" ] && echo UnitFileState=enabled
    if kill -0 "$(pid)" 2>/dev/null; then echo ActiveState=active; echo "MainPID=$(pid)"; else echo ActiveState=inactive; fi;;
  daemon-reload) rm -f "$dir/loaded"; [ -e "$unit" ] && touch "$dir/loaded"; true;;
  enable\ *) touch "$dir/enabled";;
  start\ *) kill -0 "$(pid)" 2>/dev/null || start;;
  restart\ *) stop; start;;
  stop\ *) stop;;
  disable\ *) stop; rm -f "$dir/enabled";;
esac
"#;

/// Puts it on the PATH of a hub, with a login shell that tells `path`.
pub fn install(hub: &mut Hub, path: &str) {
    let shell = format!(
        "#!/bin/sh\nfor last; do :; done\nmark=$(printf '%s' \"$last\" | grep -o 'hub-path-[0-9a-f]*' | head -n 1)\n\
         echo Welcome\nprintf '%s%s%s\\n' $mark '{path}' $mark\n"
    );
    for folder in ["bin", "systemd", "config/xdg"] {
        std::fs::create_dir_all(hub.path(folder)).expect("a folder");
    }
    for (name, text) in [("systemctl", SYSTEMCTL), ("login-shell", &shell)] {
        let file = hub.path("bin").join(name);
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let search = format!("{}:{}", hub.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let env = [
        ("PATH", search),
        ("SHELL", hub.path("bin/login-shell").display().to_string()),
        ("XDG_CONFIG_HOME", hub.path("config/xdg").display().to_string()),
    ];
    hub.setup.env.extend(env.map(|(name, value)| (name.to_owned(), value)));
}

/// Where the unit is written.
pub fn unit(hub: &Hub) -> PathBuf {
    hub.path("config/xdg/systemd/user/hub.service")
}

/// What was asked so far.
pub fn calls(hub: &Hub) -> String {
    std::fs::read_to_string(hub.path("systemd/calls")).unwrap_or_default()
}

/// The process that it started, if it lives.
pub fn pid(hub: &Hub) -> Option<u32> {
    let pid = std::fs::read_to_string(hub.path("systemd/pid")).ok()?.trim().parse().ok()?;
    super::procs::is_alive(pid).then_some(pid)
}
