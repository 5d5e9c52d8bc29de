//! `/metrics`: numbers for Prometheus.
//!
//! In: a [`Survey`] of the servers and hub's own numbers. Out: OpenMetrics text, which older Prometheus versions read as
//! well. Owns nothing: each scrape is encoded from what is true now. May not: keep a series of a server that is gone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry;

use crate::limits;
use crate::mcp::ProtocolVersion;
use crate::server::snapshot::LATENCY_BOUNDS_US;
use crate::server::usage::{Survey, Surveyed};
use crate::server::{Counters, State};

use super::{Context, Reply, respond};

/// One scrape.
pub(super) async fn scrape(ctx: &Context) -> Reply {
    let registry = ctx.registry.borrow().clone();
    let survey = ctx.meter.survey(&registry).await;
    let connections = limits::CONNECTIONS_MAX.saturating_sub(ctx.connections.available_permits());
    let held = ctx.bodies.held();
    let parked = ctx.exchanges.parked();
    let scrape = Scrape { survey, connections, held, parked, uptime: ctx.started.elapsed() };
    match scrape.encode_text() {
        Ok(text) => respond::metrics(text),
        Err(error) => respond::broken(&format!("metrics could not be encoded: {error}")),
    }
}

#[derive(Debug)]
struct Scrape {
    survey: Survey,
    connections: usize,
    held: usize,
    parked: usize,
    uptime: Duration,
}

/// Every state has a series, 1 for the one that holds: sums over servers are then counts per state.
const STATES: [State; 7] =
    [State::Stopped, State::Starting, State::Ready, State::Backoff, State::Failed, State::Stopping, State::Disabled];

/// Name and help of a metric, and which counter it shows.
type Pick<T> = (&'static str, &'static str, fn(&Counters) -> &T);

impl Scrape {
    fn encode_text(self) -> Result<String, fmt::Error> {
        let mut registry = registry::Registry::with_prefix("hub");
        registry.register_collector(Box::new(Arc::new(self)));
        let mut out = String::with_capacity(16 << 10);
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    fn hub(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        encoder
            .encode_descriptor("build", "Version of hub.", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let hub = &self.survey.hub;
        gauge(encoder, "uptime_seconds", "Time since hub started.", &self.uptime.as_secs_f64())?;
        gauge(encoder, "resident_memory_bytes", "Resident memory of hub itself.", &hub.rss_bytes)?;
        gauge(encoder, "proportional_memory_bytes", "Proportional memory of hub itself.", &hub.pss_bytes)?;
        gauge(encoder, "open_connections", "Open HTTP connections.", &self.connections)?;
        gauge(encoder, "held_body_bytes", "Bytes of request bodies that are held.", &self.held)?;
        gauge(encoder, "parked_calls", "Calls of modern clients whose server has asked something.", &self.parked)
    }

    /// One gauge per server that runs or could run.
    fn gauges<V: EncodeGaugeValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: impl Fn(&Surveyed) -> V,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for server in &self.survey.servers {
            family.encode_family(&[("server", server.server.name.as_str())])?.encode_gauge(&value(server))?;
        }
        Ok(())
    }

    /// As `gauges`, with what comes from the counters of a server that has a task.
    fn counted(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, kind): (&str, &str, MetricType),
        encode: impl Fn(&mut MetricEncoder<'_>, &Counters) -> fmt::Result,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for server in &self.survey.servers {
            if let Ok(handle) = &server.server.handle {
                let labels = [("server", server.server.name.as_str())];
                encode(&mut family.encode_family(&labels)?, handle.counters())?;
            }
        }
        Ok(())
    }

    fn states(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 for the state that the server is in.";
        let mut family = encoder.encode_descriptor("server_state", help, None, MetricType::Gauge)?;
        for server in &self.survey.servers {
            let now = server.state();
            for state in STATES {
                let labels = [("server", server.server.name.as_str()), ("state", state.as_str())];
                family.encode_family(&labels)?.encode_gauge(&i64::from(state == now))?;
            }
        }
        Ok(())
    }

    /// One series per server that has shown what it speaks.
    fn protocols(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 for the era and revision that the server speaks.";
        let mut family = encoder.encode_descriptor("server_protocol", help, None, MetricType::Gauge)?;
        for server in &self.survey.servers {
            let handshake = server.snapshot.as_ref().and_then(|snapshot| snapshot.handshake.as_ref());
            if let Some(handshake) = handshake {
                // A server may call its revision anything.
                let revision = ProtocolVersion::parse(&handshake.version).map_or("other", ProtocolVersion::as_str);
                let name = server.server.name.as_str();
                let labels = [("server", name), ("era", handshake.era.as_str()), ("revision", revision)];
                family.encode_family(&labels)?.encode_gauge(&1)?;
            }
        }
        Ok(())
    }

    fn totals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals: [Pick<AtomicU64>; 4] = [
            ("calls", "Calls that were accepted.", |counters| &counters.calls),
            ("errors", "Calls that ended with an error.", |counters| &counters.errors),
            ("restarts", "Starts of a child after its first.", |counters| &counters.restarts),
            ("dropped_messages", "Late or unattributable messages that were dropped.", |counters| &counters.dropped),
        ];
        for (name, help, total) in totals {
            self.counted(encoder, (name, help, MetricType::Counter), |encoder, counters| {
                encoder.encode_counter::<NoLabelSet, _, f64>(&total(counters).load(Ordering::Relaxed), None)
            })?;
        }
        let help = "Time from a call's arrival to its answer.";
        self.counted(encoder, ("call_duration_seconds", help, MetricType::Histogram), histogram)
    }

    fn levels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let levels: [Pick<AtomicI64>; 3] = [
            ("in_flight", "Calls without an answer yet.", |counters| &counters.in_flight),
            ("queued", "Calls and child requests that wait in hub.", |counters| &counters.queued),
            ("sessions", "Open sessions.", |counters| &counters.sessions),
        ];
        for (name, help, level) in levels {
            self.counted(encoder, (name, help, MetricType::Gauge), |encoder, counters| {
                encoder.encode_gauge(&level(counters).load(Ordering::Relaxed))
            })?;
        }
        Ok(())
    }

    fn costs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let processes = ("server_processes", "Living processes of the server, descendants included.");
        self.gauges(encoder, processes, |server| server.usage().processes)?;
        let resident = ("server_resident_memory_bytes", "Resident memory of all its processes.");
        self.gauges(encoder, resident, |server| server.usage().rss_bytes)?;
        let proportional = ("server_proportional_memory_bytes", "Memory of all its processes, shared pages split.");
        self.gauges(encoder, proportional, |server| server.usage().pss_bytes)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.hub(&mut encoder)?;
        self.states(&mut encoder)?;
        self.protocols(&mut encoder)?;
        self.totals(&mut encoder)?;
        self.levels(&mut encoder)?;
        self.costs(&mut encoder)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}

fn histogram(encoder: &mut MetricEncoder<'_>, counters: &Counters) -> fmt::Result {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of latency, far below 2^52")]
    let seconds = |micros: u64| micros as f64 / 1e6;
    let bounds = LATENCY_BOUNDS_US.iter().map(|&bound| seconds(bound)).chain([f64::INFINITY]);
    let counts = counters.latency_buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let sum = seconds(counters.latency_sum_us.load(Ordering::Relaxed));
    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerName;
    use crate::server::registry::{NotRunning, Registered};
    use crate::server::usage::Usage;

    #[test]
    fn a_scrape_reads_well() {
        let name = ServerName::new("git").expect("a name");
        let server = Registered { name, port: 1, handle: Err(NotRunning::Disabled), listen_failure: None };
        let hub = Usage { processes: 1, rss_bytes: 2048, pss_bytes: 1024, cpu_percent: 0.0 };
        let survey = Survey { hub, servers: vec![Surveyed { server, snapshot: None, instances: Vec::new() }] };
        let scrape = Scrape { survey, connections: 3, held: 7, parked: 2, uptime: Duration::from_millis(1500) };
        let text = scrape.encode_text().expect("encodes");
        for line in [
            "hub_uptime_seconds 1.5",
            "hub_open_connections 3",
            "hub_parked_calls 2",
            "hub_proportional_memory_bytes 1024",
            "hub_server_state{server=\"git\",state=\"disabled\"} 1",
            "hub_server_state{server=\"git\",state=\"ready\"} 0",
            "hub_server_processes{server=\"git\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
