//! A server without a child, for tests of the rooms above.
//!
//! In: what it is to show, and a script. Out: a [`ServerHandle`] like any other. Owns its two tasks, which end with it.
//! May not: be built into hub.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};

use crate::config::{ServerName, ServerSpec};
use crate::mcp::{Era, ListKind, Method, Outcome, ProtocolVersion, Raw};
use crate::tasks::Scope;

use super::handle::{Command, InstanceHandle, NewCall};
use super::outlet::{AskId, CallerId, Delivery, Outlet};
use super::registry::{Registered, ServerCommand, ServerHandle};
use super::snapshot::{Counters, Handshake, List, Offers, Snapshot, State};

/// What a call is answered with; `None`: never.
pub type Script = fn(&Method, Option<&Raw>) -> Option<Outcome>;

/// See the module.
#[derive(Debug)]
pub struct Scripted {
    /// The way to it.
    pub handle: ServerHandle,
    /// How often it was told to start.
    pub wakes: Arc<AtomicUsize>,
    /// How many calls were cancelled.
    pub cancels: Arc<AtomicUsize>,
    /// What callers did beside making calls.
    pub heard: Arc<Mutex<Heard>>,
    instance: InstanceHandle,
    snapshot: watch::Sender<Arc<Snapshot>>,
    scope: Scope,
}

/// What callers did beside making calls that the script answered.
#[derive(Debug, Default)]
pub struct Heard {
    /// Calls that the script did not answer, and where deliveries for them go.
    pub calls: Vec<(Method, Option<Raw>, Arc<dyn Outlet>)>,
    /// Where deliveries for lasting callers go.
    pub callers: Vec<(CallerId, Arc<dyn Outlet>)>,
    /// Lasting callers that left.
    pub closed: Vec<CallerId>,
    /// Answers to asks.
    pub answers: Vec<(AskId, Outcome)>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.scope.stopping().cancel();
    }
}

impl Scripted {
    /// A server in state `Stopped` that has shown nothing yet.
    pub fn start(name: &str, script: Script) -> Self {
        let name = ServerName::new(name).expect("a valid name");
        let snapshot = Snapshot {
            state: State::Stopped,
            handshake: None,
            lists: Arc::default(),
            generation: 0,
            pid: None,
            ready_since: None,
            failure: None,
        };
        let (snapshot, seen) = watch::channel(Arc::new(snapshot));
        let (_, spec) = watch::channel(Arc::new(ServerSpec::new(name.clone(), "none", "/")));
        let (commands, server_commands) = mpsc::channel(16);
        let (calls, instance_commands) = mpsc::channel(16);
        let instance = InstanceHandle::new(calls, seen.clone());
        let handle = ServerHandle::new(name, spec, Arc::new(Counters::default()), commands, seen);
        let (wakes, cancels) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let scope = Scope::new();
        let stop = scope.stopping().clone();
        let serve = serve(server_commands, instance.clone(), wakes.clone());
        let heard = Arc::<Mutex<Heard>>::default();
        let answer = answer(instance_commands, instance.clone(), script, (cancels.clone(), heard.clone()));
        scope.spawn("scripted", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ((), ()) = async { tokio::join!(serve, answer) } => {}
            }
        });
        Self { handle, wakes, cancels, heard, instance, snapshot, scope }
    }

    /// Changes what it shows.
    pub fn show(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = (**self.snapshot.borrow()).clone();
        change(&mut next);
        self.snapshot.send_replace(Arc::new(next));
    }

    /// Becomes ready with these capabilities.
    pub fn ready(&self, capabilities: &'static str) {
        self.ready_as(Era::Legacy, capabilities);
    }

    /// The same in an era.
    pub fn ready_as(&self, era: Era, capabilities: &'static str) {
        let version = if era == Era::Legacy { ProtocolVersion::LATEST_LEGACY } else { ProtocolVersion::V2026_07_28 };
        let handshake = Handshake {
            era,
            version: version.as_str().into(),
            capabilities: Raw::from_static(capabilities.as_bytes()),
            server_info: Raw::from_static(b"{}"),
            instructions: None,
            offers: Offers::default(),
        };
        self.show(|snapshot| {
            snapshot.state = State::Ready;
            snapshot.generation += 1;
            snapshot.ready_since = Some(SystemTime::now());
            snapshot.handshake = Some(Arc::new(handshake));
        });
    }

    /// Shows a list; the items are a JSON array.
    pub fn list(&self, kind: ListKind, items: &str) {
        let result = Raw::from(format!("{{\"{}\":{items}}}", kind.items_key()));
        let list = List::from_result(kind, &result).expect("a JSON array");
        self.show(|snapshot| snapshot.lists = Arc::new(snapshot.lists.with(kind, Arc::new(list))));
    }

    /// What was heard so far.
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no panic under this lock")
    }

    /// Delivers to the call that came last.
    pub fn deliver(&self, delivery: Delivery) {
        let outlet = self.heard().calls.last().expect("a call").2.clone();
        outlet.deliver(&self.instance, delivery);
    }

    /// Delivers to all lasting callers.
    pub fn tell(&self, delivery: &Delivery) {
        let outlets: Vec<_> = self.heard().callers.iter().map(|(_, outlet)| outlet.clone()).collect();
        outlets.iter().for_each(|outlet| outlet.deliver(&self.instance, delivery.clone()));
    }

    /// As it stands in the registry.
    pub fn registered(&self) -> Registered {
        Registered { name: self.handle.name().clone(), port: 1, handle: Ok(self.handle.clone()), listen_failure: None }
    }
}

async fn serve(mut commands: mpsc::Receiver<ServerCommand>, instance: InstanceHandle, wakes: Arc<AtomicUsize>) {
    while let Some(command) = commands.recv().await {
        match command {
            ServerCommand::Instance { reply, .. } => drop(reply.send(instance.clone())),
            ServerCommand::Wake => drop(wakes.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
    }
}

async fn answer(
    mut commands: mpsc::Receiver<Command>,
    instance: InstanceHandle,
    script: Script,
    (cancels, heard): (Arc<AtomicUsize>, Arc<Mutex<Heard>>),
) {
    while let Some(command) = commands.recv().await {
        let heard = || heard.lock().expect("no panic under this lock");
        match command {
            Command::Call(_, NewCall { method, params, outlet, .. }) => match script(&method, params.as_ref()) {
                Some(outcome) => outlet.deliver(&instance, Delivery::Finish(outcome)),
                None => heard().calls.push((method, params, outlet)),
            },
            Command::Cancel { .. } => drop(cancels.fetch_add(1, Ordering::SeqCst)),
            Command::Open(caller) => heard().callers.push((caller.caller, caller.outlet)),
            Command::Close(caller) => heard().closed.push(caller),
            Command::Answer { ask, outcome } => heard().answers.push((ask, outcome)),
            _ => {}
        }
    }
}
