//! Every number that bounds something, with its unit in the name and a reason.
//!
//! In: nothing. Out: constants. Owns no state. May not: depend on any room.

use std::time::Duration;

/// Largest request body by default (`[hub] body_max`). Rivals fail between 100 KB and 4.5 MB.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of request bodies that hub holds at once, over all listeners: while they arrive, wait for a server, are written.
/// More if bodies may be large, see [`HELD_BODIES_MAX`].
pub const HELD_BODIES_BYTES_MAX: usize = 256 << 20;
/// At least so many bodies of the largest size (`[hub] body_max`) are held at once.
pub const HELD_BODIES_MAX: usize = 4;
/// Smaller bodies are not counted: [`CALLS_PER_INSTANCE_MAX`] of them are 8 MiB.
pub const HELD_BODY_COUNTS_FROM_BYTES: usize = 1 << 10;
/// Longest line a child may write; a longer one fails what is in flight and restarts the child.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// Arrays and objects around the innermost part of a message, its envelope included. The official Python SDK reads 201
/// and drops a deeper line without an answer, so that its request would wait for ever (measured with 1.30; Python's own
/// parser reads fewer than 1000, Node as many as memory holds).
pub const JSON_DEPTH_MAX: usize = 200;
/// Bytes queued towards one child's stdin before its queue is no longer read (back-pressure).
pub const CHILD_WRITE_BYTES_MAX: usize = 4 << 20;
/// Commands queued towards one instance.
pub const INSTANCE_QUEUE_MAX: usize = 256;
/// Commands that an instance takes before it writes to its child.
pub const COMMANDS_AT_ONCE_MAX: usize = 32;
/// Calls that one instance holds at once, sent or waiting.
pub const CALLS_PER_INSTANCE_MAX: usize = 8192;
/// Calls of one session in flight at once.
pub const CALLS_PER_SESSION_MAX: usize = 1024;
/// Child requests of one instance waiting for an answer or an owner.
pub const ASKS_PER_INSTANCE_MAX: usize = 1024;
/// Distinct subscribed URIs per instance.
pub const SUBSCRIPTIONS_PER_INSTANCE_MAX: usize = 10_000;
/// Tasks of one instance whose owner is remembered.
pub const TASKS_PER_INSTANCE_MAX: usize = 10_000;
/// URL elicitations of one instance whose owner is remembered; over it the oldest one goes.
pub const ELICITATIONS_PER_INSTANCE_MAX: usize = 10_000;

/// How long an unattributable child request is held while other callers complete (PROTOCOL 1.11.5).
pub const ASK_HOLD: Duration = Duration::from_secs(15);
/// How long a client may take to answer a child's request (a person reads a dialog).
pub const ASK_TIMEOUT: Duration = Duration::from_mins(10);
/// How long a cancelled call stays a possible owner of a child's request (PROTOCOL 1.11).
pub const GHOST: Duration = Duration::from_secs(10);
/// How long the wire id of a cancelled call is remembered.
pub const TOMBSTONE: Duration = Duration::from_hours(1);
/// A task is remembered this long after it ended, so that its result can still be fetched (PROTOCOL 1.12).
pub const TASK_AFTER_END: Duration = Duration::from_mins(10);
/// A URL elicitation is remembered this long, so that its owner hears of its completion (PROTOCOL 1.11).
pub const ELICITATION_REMEMBERED: Duration = Duration::from_hours(1);
/// Tasks and elicitations are looked through for what is over this often.
pub const FORGET_EVERY: Duration = Duration::from_mins(1);
/// Questions that a modern server may ask of a legacy client in one round.
pub const QUESTIONS_MAX: usize = 64;
/// Rounds of input that one call may take (PROTOCOL 3.A.4, 3.B.3).
pub const ROUNDS_MAX: u32 = 32;
/// The pause before a call is made again that a modern server only wants to see again; doubles each time.
pub const POLL_FIRST: Duration = Duration::from_millis(100);
/// How often in a row: about ten minutes.
pub const POLLS_MAX: u32 = 128;
/// The longest such pause.
pub const POLL_LONGEST: Duration = Duration::from_secs(5);
/// How long a modern child may take to acknowledge a listen.
pub const LISTEN_ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// The pause before a listen that the child ended is opened again; doubles each time (PROTOCOL 2.7).
pub const LISTEN_RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest such pause.
pub const LISTEN_RETRY_MAX: Duration = Duration::from_secs(60);
/// Parallel requests of one call are collected this long before the baton passes.
pub const BATON_COLLECT: Duration = Duration::from_millis(50);
/// Asks read within this time of one another may be of one call: the collection time, and slack for a slow pipe.
pub const BATON_WINDOW: Duration = Duration::from_millis(250);
/// How long an answer may wait for the baton before it is written anyway.
pub const BATON_ANSWER_WAIT: Duration = Duration::from_secs(20);
/// Questions of one parked call are collected this long before they are put to its client together (PROTOCOL 3.A.4.2).
pub const PARKED_COLLECT: Duration = Duration::from_millis(50);
/// `list_changed` of one kind is coalesced this long.
pub const LIST_CHANGED_COALESCE: Duration = Duration::from_millis(50);
/// The last unsubscribe of a URI is sent after this long.
pub const UNSUBSCRIBE_DEBOUNCE: Duration = Duration::from_secs(2);
/// A less verbose logging level is sent to the child after this long.
pub const LEVEL_LOWER_DEBOUNCE: Duration = Duration::from_secs(1);

/// A response without a first message by then is committed as an event stream.
pub const COMMIT_SSE_AFTER: Duration = Duration::from_secs(5);
/// Silence on an event stream before a keep-alive comment.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Silence before a heartbeat progress notification, where the client gave a token. Claude Code aborts after 300 s.
pub const HEARTBEAT: Duration = Duration::from_secs(50);
/// What clients are told to wait before they reconnect a stream, in milliseconds.
pub const SSE_RETRY_MS: u64 = 3000;

/// Events kept per stream for a resume.
pub const STREAM_EVENTS_MAX: usize = 256;
/// Bytes kept per stream for a resume, and the slow-reader bound.
pub const STREAM_BYTES_MAX: usize = 1 << 20;
/// Bytes kept for all streams of one session.
pub const SESSION_REPLAY_BYTES_MAX: usize = 4 << 20;
/// Bytes kept for all streams of hub.
pub const HUB_REPLAY_BYTES_MAX: usize = 64 << 20;
/// A finished stream can be resumed this long by default (`[hub] replay_ttl`).
pub const REPLAY_TTL: Duration = Duration::from_mins(5);
/// Standalone GET streams of one session.
pub const GET_STREAMS_MAX: usize = 4;
/// Finished POST streams of one session that can be resumed.
pub const POST_STREAMS_MAX: usize = 256;
/// Unrelated messages that wait for a GET stream.
pub const OUTBOX_MESSAGES_MAX: usize = 256;
/// Bytes of them.
pub const OUTBOX_BYTES_MAX: usize = 1 << 20;
/// Elements of one JSON-RPC batch (2025-03-26 only).
pub const BATCH_MAX: usize = 100;

/// Sessions by default (`[hub] sessions_max`); over it the idlest one goes.
pub const SESSIONS_MAX: usize = 10_000;
/// A session without any use expires after this long by default (`[hub] session_expiry`).
pub const SESSION_EXPIRY: Duration = Duration::from_hours(7 * 24);

/// How far the store may be behind with the last use of a session.
pub const SESSION_TOUCH_EVERY: Duration = Duration::from_mins(10);

/// Open connections over all listeners.
pub const CONNECTIONS_MAX: usize = 8192;
/// A request head must arrive within this time (slow-loris).
pub const HEADER_READ: Duration = Duration::from_secs(10);
/// Arguments of one tool that are mirrored into headers: a request has at most 100 headers, and others of its own.
pub const MIRRORED_PER_TOOL_MAX: usize = 64;
/// A request body must make progress within this time.
pub const BODY_READ_IDLE: Duration = Duration::from_secs(30);
/// Largest read buffer of one connection, and so the largest request head.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 256 << 10;
/// A connection that hub closes is read from for this long, so that the client sees the last answer.
pub const LINGER: Duration = Duration::from_secs(1);
/// The accept loop pauses this long when the machine has no file descriptor or memory left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Default of `startup_timeout`: npx and uvx install on a cold start.
pub const STARTUP_TIMEOUT: Duration = Duration::from_mins(1);
/// Default of `probe_timeout`: a Python server under load was seen to answer its first request after 8 s.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of `park_timeout`, after which a parked call whose client does not come back is cancelled (PROTOCOL 3.A.4.8):
/// as long as a session may take to answer ([`ASK_TIMEOUT`]).
pub const PARK_TIMEOUT: Duration = ASK_TIMEOUT;
/// A legacy verdict about a server is believed this long: one that was upgraded still answers `initialize`, so that
/// nothing but age retires it (PROTOCOL 2.7).
pub const LEGACY_VERDICT: Duration = Duration::from_hours(24);
/// After stdin is closed a child has this long to leave by itself.
pub const STOP_STDIN_GRACE: Duration = Duration::from_secs(2);
/// After SIGTERM to its group a child has this long before SIGKILL.
pub const STOP_TERM_GRACE: Duration = Duration::from_secs(3);
/// After SIGKILL a process that still does not end (it hangs in the kernel) is given up after this long.
pub const STOP_KILL_GRACE: Duration = Duration::from_secs(5);
/// A changed or stopped server finishes what is in flight within this time.
pub const DRAIN: Duration = Duration::from_secs(10);
/// Lines of stderr kept in memory per instance.
pub const STDERR_TAIL_LINES_MAX: usize = 200;
/// Longest line of stderr that is kept whole.
pub const STDERR_LINE_BYTES_MAX: usize = 8 << 10;
/// Pieces of stderr that wait for the log thread; more are dropped and counted.
pub const LOG_QUEUE_MAX: usize = 256;
/// A log file is rotated at this size; two generations are kept.
pub const LOG_FILE_BYTES_MAX: u64 = 5 << 20;
/// Operations that wait for the store's thread.
pub const STORE_QUEUE_MAX: usize = 1024;
/// Exits within [`CRASH_LOOP_WINDOW`] that make a server `failed`.
pub const CRASH_LOOP_EXITS_MAX: usize = 10;
/// See [`CRASH_LOOP_EXITS_MAX`].
pub const CRASH_LOOP_WINDOW: Duration = Duration::from_mins(2);
/// A child that lived this long resets the backoff.
pub const BACKOFF_RESET_AFTER: Duration = Duration::from_mins(1);

/// A session without a stream counts as in use this long after its last request (only for `without_hub` of `status`).
pub const SESSION_IN_USE: Duration = Duration::from_mins(15);
/// `hub down` waits this long for the daemon to be gone: above everything that a stop may take.
pub const DOWN_PATIENCE: Duration = Duration::from_mins(1);
/// How often it looks.
pub const DOWN_LOOK_EVERY: Duration = Duration::from_millis(20);
/// A daemon that was started has this long to serve: it opens its state and binds its ports, no more.
pub const START_PATIENCE: Duration = Duration::from_secs(30);
/// How often who waits for a daemon that is starting or stopping looks again.
pub const START_LOOK_EVERY: Duration = Duration::from_millis(20);
/// Starts that are tried while others start and stop hub.
pub const START_TRIES: usize = 5;
/// The end of a log that an error shows.
pub const LOG_END_BYTES_MAX: u64 = 2 << 10;
/// hub's own log file is measured this often.
pub const OWN_LOG_LOOK_EVERY: Duration = Duration::from_secs(5);
/// What was found of a call's params on its way in is kept with it up to this many members: the call may stay for long.
pub const SCANNED_MEMBERS_KEPT_MAX: usize = 64;
/// `hub up` looks at its servers this often …
pub const UP_LOOK_EVERY: Duration = Duration::from_millis(200);
/// … says something when it was silent for this long: a line each second, also where the next look is late …
pub const UP_SAY_EVERY: Duration = Duration::from_millis(700);
/// … and gives a server that died, or has not begun to start, this long before it goes on without it.
pub const UP_GRACE: Duration = Duration::from_secs(3);
/// Beyond the longest `startup_timeout` it waits this long at most: servers queue for their start.
pub const UP_QUEUE: Duration = Duration::from_secs(30);
/// How often `hub status --watch` draws.
pub const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Open connections to the control socket.
pub const CONTROL_CONNECTIONS_MAX: usize = 64;
/// Process trees are measured at most this often.
pub const USAGE_EVERY: Duration = Duration::from_secs(1);
/// The first CPU percentage of a tree is taken over this long.
pub const USAGE_FIRST_INTERVAL: Duration = Duration::from_millis(200);

/// Pages of one list that are drained from a child.
pub const LIST_PAGES_MAX: usize = 1000;
/// Items of one page of an aggregate list.
pub const AGGREGATE_PAGE_ITEMS_MAX: usize = 500;
/// How long an aggregate list waits for servers that start: its answer is to be there within 5 s (PROTOCOL 4.4).
pub const AGGREGATE_LIST_WAIT: Duration = Duration::from_millis(4500);
/// Longest exposed name on the aggregate endpoint.
pub const AGGREGATE_NAME_BYTES_MAX: usize = 64;

/// Longest name of a server: it goes into URLs, file names and tool prefixes.
pub const SERVER_NAME_BYTES_MAX: usize = 64;
/// Default port of the hub endpoint (`[hub] port`).
pub const HUB_PORT: u16 = 18900;
/// Default of `[hub] first_port`.
pub const FIRST_SERVER_PORT: u16 = 18901;
/// Default of `restart.initial`.
pub const RESTART_INITIAL: Duration = Duration::from_millis(500);
/// Default of `restart.max`.
pub const RESTART_MAX: Duration = Duration::from_secs(30);
/// Largest hub.toml, env_file or `${file:}` that is read.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;
/// Changes of hub.toml are looked at when its folder was quiet for this long (editors save in several steps).
pub const CONFIG_DEBOUNCE: Duration = Duration::from_millis(100);
/// An empty hub.toml is believed when it still is empty after this long (some editors empty it first).
pub const CONFIG_BLANK_WAIT: Duration = Duration::from_millis(500);
/// hub.toml is looked at this often even without a notice: network folders send none, and watches can be exhausted.
pub const CONFIG_POLL: Duration = Duration::from_secs(5);
/// A `failed` server is tried again by a request, but not more often than this.
pub const FAILED_RETRY_AFTER: Duration = Duration::from_secs(10);
/// A start occupies one of the `spawns_max` permits at most this long.
pub const SPAWN_PERMIT: Duration = Duration::from_secs(5);
/// `hub restart` lets what is in flight finish this long.
pub const RESTART_GRACE: Duration = Duration::from_secs(2);
/// Commands queued towards one server task.
pub const SERVER_QUEUE_MAX: usize = 64;
/// Default of `idle_stop` for instances of `share = "session"`.
pub const SESSION_INSTANCE_IDLE: Duration = Duration::from_secs(1800);
/// Longest alias of a server: 64 minus it leaves 38 characters for a tool's own name.
pub const AGGREGATE_ALIAS_BYTES_MAX: usize = 24;
/// Bytes of one page of an aggregate list; one larger item is still a page.
pub const AGGREGATE_PAGE_BYTES_MAX: usize = 1 << 20;
/// Changes of the merged lists are announced together within this time (PROTOCOL 4.4).
pub const AGGREGATE_CHANGES_COALESCE: Duration = Duration::from_millis(250);
/// Bytes of one server's text in the aggregate's `instructions`.
pub const AGGREGATE_INSTRUCTIONS_PER_SERVER_BYTES_MAX: usize = 2 << 10;
/// Bytes of the aggregate's `instructions`.
pub const AGGREGATE_INSTRUCTIONS_BYTES_MAX: usize = 16 << 10;
/// How long servers may take when all are asked who knows an unlisted resource (PROTOCOL 4.3).
pub const RESOURCE_SEARCH: Duration = Duration::from_secs(2);
/// Unlisted resources whose server is remembered.
pub const RESOURCES_FOUND_MAX: usize = 10_000;
/// Longest URI that is matched against templates.
pub const TEMPLATE_URI_BYTES_MAX: usize = 8 << 10;
/// Longest part of a failure that a client is told as the reason why a server is unavailable.
pub const UNAVAILABLE_REASON_BYTES_MAX: usize = 300;
/// When hub stops, what is in flight may finish this long.
pub const SHUTDOWN_DRAIN: Duration = Duration::from_secs(2);
/// When hub stops, connections have this long to take their last bytes.
pub const SHUTDOWN_LINGER: Duration = Duration::from_secs(1);
/// A listener whose port was taken is tried again this often.
pub const BIND_RETRY: Duration = Duration::from_secs(5);
/// A command to a service manager may take this long: starting hub is one of them.
pub const SERVICE_COMMAND_PATIENCE: Duration = Duration::from_secs(90);
/// A login shell has this long to tell its PATH: version managers take their time.
pub const SHELL_PATH_PATIENCE: Duration = Duration::from_secs(5);
/// A service manager is told at most this often how many servers are ready.
pub const MANAGER_STATUS_EVERY: Duration = Duration::from_secs(5);
/// A service manager hears that hub is alive at most this often, whatever it asks for.
pub const MANAGER_BEAT_MIN: Duration = Duration::from_millis(10);
/// A service manager that does not read gets this long for what it must not miss.
pub const MANAGER_PATIENCE: Duration = Duration::from_millis(100);
/// Commands queued towards the supervisor.
pub const SUPERVISOR_QUEUE_MAX: usize = 16;
/// Threads for what blocks: fork, files, `/proc`.
pub const BLOCKING_THREADS_MAX: usize = 8;
/// An unused one of them ends after this long.
pub const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// What the allocator keeps is looked at this often.
pub const MEMORY_LOOK_EVERY: Duration = Duration::from_secs(10);
/// It may keep this much more than at its best before it is told to give memory back …
pub const MEMORY_SLACK_BYTES_MAX: usize = 16 << 20;
/// … which happens at most this often.
pub const MEMORY_RELIEF_PAUSE: Duration = Duration::from_mins(1);
/// Sessions and streams are looked through for what has expired this often.
pub const SESSION_SWEEP: Duration = Duration::from_secs(5);
/// After a reload, a port that is not free yet is tried so often …
pub const DOOR_TRIES: usize = 20;
/// … with this pause between.
pub const DOOR_PAUSE: Duration = Duration::from_millis(10);
/// Listeners (`subscriptions/listen`) at once. All callers are one principal to hub, so that PROTOCOL 2.4's bound for
/// each would let one client shut out all others: there is one large bound for all, and beyond it hub is overloaded,
/// which is no fault of the request.
pub const LISTENERS_MAX: usize = 4096;
/// Resources that one listener may subscribe to.
pub const LISTENER_URIS_MAX: usize = 1000;
/// A listener waits this long for its subscriptions before it is told which of them hold.
pub const LISTENER_SUBSCRIBE_WAIT: Duration = Duration::from_secs(5);
/// How long a modern client may keep what a server says of itself, in milliseconds.
pub const DISCOVER_TTL_MS: u64 = 60_000;
/// Parked calls of one server: a person can answer only so many. A bound for each principal (PROTOCOL 3.A.4.11) would
/// say nothing more, as to hub all callers are one.
pub const PARKED_PER_SERVER_MAX: usize = 64;
/// Parked calls of hub.
pub const PARKED_MAX: usize = 1024;
/// A call that was refused until a URL is visited is made again when the server says that it was, or after this long.
pub const VISIT_WAIT: Duration = Duration::from_secs(30);

/// Lines from a stdio client that wait to be sent, and lines that wait to be written to it.
pub const STDIO_QUEUE_MAX: usize = 16;
/// Bytes of lines from a stdio client that wait to be sent; one larger line waits alone.
pub const STDIO_READ_BYTES_MAX: usize = 4 << 20;
/// Bytes of lines that wait to be written to a stdio client; one larger line waits alone.
pub const STDIO_WRITE_BYTES_MAX: usize = 4 << 20;
/// Larger answers to a stdio client are taken in one after another: the others wait in hub.
pub const STDIO_LARGE_FROM_BYTES: usize = 16 << 10;
/// Bytes of requests of a stdio client that hub has not begun to answer; one larger request waits until it is alone.
pub const STDIO_SENT_BYTES_MAX: usize = 64 << 20;
/// Requests of a stdio client in flight at once: as many as hub takes from one session.
pub const STDIO_CALLS_MAX: usize = CALLS_PER_SESSION_MAX;
/// Largest event that hub may send to a stdio client: the longest line of a child, and what stands around it.
pub const STDIO_EVENT_BYTES_MAX: usize = LINE_BYTES_MAX + (64 << 10);
/// Connections that are kept for the next request of a stdio client.
pub const STDIO_IDLE_CONNECTIONS_MAX: usize = 8;
/// A request of a stdio client waits this long for a hub that cannot be reached, as when it restarts.
pub const STDIO_HUB_PATIENCE: Duration = Duration::from_secs(30);
/// The pause before hub is tried again; doubles each time.
pub const STDIO_RETRY_FIRST: Duration = Duration::from_millis(20);
/// The longest such pause.
pub const STDIO_RETRY_LONGEST: Duration = Duration::from_secs(1);
/// A hub that is gone is started by a bridge after this long: a service that restarts it comes first.
pub const STDIO_REVIVE_AFTER: Duration = Duration::from_secs(2);
/// After stdin ended, what is in flight may finish this long: clients kill after 2 s.
pub const STDIO_DRAIN: Duration = Duration::from_millis(1500);
/// The last bytes of a bridge take at most this long.
pub const STDIO_LAST_WORDS: Duration = Duration::from_millis(300);
/// A cancellation may overtake its request on the way to hub, so it is sent again until the request is over, after …
pub const STDIO_CANCEL_AGAIN: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(2)];
/// Largest config file of a client that `hub import` reads.
pub const IMPORT_FILE_BYTES_MAX: u64 = 16 << 20;
/// Project folders that `hub import` looks into.
pub const IMPORT_PROJECTS_MAX: usize = 2000;
/// Imports that can be undone: the next one is refused, none is forgotten.
pub const IMPORT_BACKUPS_MAX: usize = 200;
/// Lines of a diff that a refused undo shows.
pub const DIFF_LINES_MAX: usize = 120;
/// Longest line of it.
pub const DIFF_LINE_CHARS_MAX: usize = 160;
/// A change of hub.toml waits this long for another one, or for an import, to end.
pub const CHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// `hub add` waits this long for the new server: as long as a first start may take, and a retry.
pub const ADD_PATIENCE: Duration = Duration::from_secs(90);
/// How often it looks.
pub const ADD_LOOK_EVERY: Duration = Duration::from_millis(50);
/// Less free room than this where the state is, and `hub doctor` says so.
pub const DOCTOR_DISK_BYTES_MIN: u64 = 200 << 20;
/// More bytes of logs than this, and `hub doctor` says so.
pub const DOCTOR_LOG_BYTES_MAX: u64 = 1 << 30;
/// A command waits this long for what the daemon says from memory: its state. Longer than this, it hangs.
pub const CONTROL_ANSWER: Duration = Duration::from_secs(5);
/// Lines of a server's log in which `hub doctor` looks for why it failed.
pub const DOCTOR_LOG_LINES_MAX: usize = 60;
/// Copies of one server that `hub doctor` names on its page, one line each.
pub const DOCTOR_COPIES_SHOWN_MAX: usize = 12;
/// A server that was left behind has this long to leave before it is killed.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(3);
