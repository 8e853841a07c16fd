//! `stats` and `metrics`: counters, and with `--watch` their rates.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::client::Client;
use crate::api::types::{CounterValues, PolicyValues, Stats, VipStats};
use crate::cli::args::{Format, SocketArgs, StatsArgs};
use crate::cli::error::CliError;
use crate::cli::output::{Style, lines, print};
use crate::cli::screen::{Screen, one_line};
use crate::cli::table::{Table, left, right};
use crate::cli::units::{byte_rate, bytes, count, rate};

pub(in crate::cli) async fn metrics(args: &SocketArgs) -> Result<(), CliError> {
    let reply = Client::new(args.socket.clone()).get("/metrics").await?;
    print(&reply.body)
}

pub(in crate::cli) async fn run(args: &StatsArgs) -> Result<(), CliError> {
    let Some(interval) = args.watch() else {
        let reply = args.client.client().get("/v1/stats").await?;
        return args.client.show(&reply, totals);
    };
    tokio::select! {
        result = watch(args, interval) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Prints rates every `interval`, in place on a terminal; the JSON of each reading as one line.
async fn watch(args: &StatsArgs, interval: Duration) -> Result<(), CliError> {
    let client = args.client.client();
    let style = Style::of_stdout();
    let screen = Screen::open(&args.client, "measuring…");
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<(Instant, Stats)> = None;
    loop {
        ticks.tick().await;
        let reply = client.get("/v1/stats").await?;
        if args.client.output == Format::Json {
            print(&lines(&one_line(&reply.body)))?;
            continue;
        }
        let now = (Instant::now(), reply.parse::<Stats>()?);
        if let Some((then, earlier)) = before {
            let text = rates(&earlier, &now.1, now.0 - then, style);
            match &screen {
                Some(screen) => screen.show(&text)?,
                None => print(&format!("{text}\n"))?,
            }
        }
        before = Some(now);
    }
}

fn totals(stats: &Stats, style: Style) -> String {
    let mut table =
        Table::new([left("VIP"), left("BACKEND"), right("PACKETS"), right("BYTES"), right("NEW FLOWS")]);
    for (vip, backend, counters) in rows(stats) {
        table.row([
            vip.into(),
            backend.into(),
            count(counters.packets).into(),
            bytes(counters.bytes).into(),
            count(counters.new_flows).into(),
        ]);
    }
    let mut reasons = Table::new([left(""), left("REASON"), right("PACKETS"), left("MEANING")]);
    let seen = stats.reasons.iter().filter(|reason| reason.packets > 0);
    for reason in seen {
        reasons.row([
            reason.kind.as_str().into(),
            reason.reason.as_str().into(),
            count(reason.packets).into(),
            reason.meaning.as_str().into(),
        ]);
    }
    format!("{}\n{}{}", table.render(style), policies(stats, style), reasons.render(style))
}

/// What access lists and limits did, for the vips where they did anything.
fn policies(stats: &Stats, style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        right("FLOW ATTEMPTS"),
        right("DENIED"),
        right("OVER VIP LIMIT"),
        right("OVER SOURCE LIMIT"),
    ]);
    let mut busy = stats.vips.iter().filter(|vip| vip.policy != PolicyValues::default()).peekable();
    if busy.peek().is_none() {
        return String::new();
    }
    for VipStats { name, policy, .. } in busy {
        table.row([
            name.as_str().into(),
            count(policy.new_flows).into(),
            count(policy.denied).into(),
            count(policy.vip_limited).into(),
            count(policy.source_limited).into(),
        ]);
    }
    format!("{}\n", table.render(style))
}

/// What happened between two readings, per second. What only the later one has began at zero.
fn rates(before: &Stats, after: &Stats, elapsed: Duration, style: Style) -> String {
    let earlier: BTreeMap<_, _> =
        rows(before).map(|(vip, backend, counters)| ((vip, backend), counters)).collect();
    let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / elapsed.as_secs_f64();
    let mut table = Table::new([
        left("VIP"),
        left("BACKEND"),
        right("PACKETS/S"),
        right("BYTES/S"),
        right("NEW FLOWS/S"),
    ]);
    for (vip, backend, now) in rows(after) {
        let then = earlier.get(&(vip, backend)).copied().unwrap_or_default();
        table.row([
            vip.into(),
            backend.into(),
            rate(per_second(now.packets, then.packets)).into(),
            byte_rate(per_second(now.bytes, then.bytes)).into(),
            rate(per_second(now.new_flows, then.new_flows)).into(),
        ]);
    }
    let mut reasons = Table::new([left(""), left("REASON"), right("PACKETS/S"), left("MEANING")]);
    let counted: BTreeMap<_, _> =
        before.reasons.iter().map(|reason| (&reason.reason, reason.packets)).collect();
    for reason in &after.reasons {
        let then = counted.get(&reason.reason).copied().unwrap_or(0);
        if reason.packets > then {
            reasons.row([
                reason.kind.as_str().into(),
                reason.reason.as_str().into(),
                rate(per_second(reason.packets, then)).into(),
                reason.meaning.as_str().into(),
            ]);
        }
    }
    format!("{}\n\n{}\n{}", after.at, table.render(style), reasons.render(style))
}

/// A row for each vip as a whole, and below it one for each backend.
fn rows(stats: &Stats) -> impl Iterator<Item = (&str, &str, CounterValues)> {
    stats.vips.iter().flat_map(|vip| {
        let all = std::iter::once((vip.name.as_str(), "", vip.counters));
        let each = vip.backends.iter();
        all.chain(each.map(|backend| (vip.name.as_str(), backend.name.as_str(), backend.counters)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{BackendStats, ReasonStats};

    const fn counters(packets: u64, bytes: u64, new_flows: u64) -> CounterValues {
        CounterValues { packets, bytes, new_flows }
    }

    fn stats(scale: u64) -> Stats {
        let backend = |name: &str, packets| BackendStats {
            name: name.to_owned(),
            counters: counters(packets, packets * 1000, packets / 10),
        };
        let reason = |kind: &str, reason: &str, packets| ReasonStats {
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            meaning: format!("about {reason}"),
            packets,
        };
        Stats {
            at: "2026-01-02T03:04:05Z".to_owned(),
            vips: vec![VipStats {
                name: "web".to_owned(),
                counters: counters(3000 * scale, 3_000_000 * scale, 300 * scale),
                policy: PolicyValues::default(),
                backends: vec![backend("web-1", 2000 * scale), backend("web-2", 1000 * scale)],
            }],
            reasons: vec![reason("pass", "not_vip", 50 * scale), reason("drop", "truncated", 0)],
        }
    }

    #[test]
    fn totals_show_vips_backends_and_the_reasons_that_occurred() {
        assert_eq!(
            totals(&stats(1), Style::PLAIN),
            "\
VIP  BACKEND  PACKETS   BYTES  NEW FLOWS
web              3.0k  3.0 MB        300
web  web-1       2.0k  2.0 MB        200
web  web-2       1.0k  1.0 MB        100

      REASON   PACKETS  MEANING
pass  not_vip       50  about not_vip
"
        );
    }

    #[test]
    fn vips_whose_lists_and_limits_drop_are_shown_with_how_much() {
        let mut stats = stats(1);
        stats.vips[0].policy =
            PolicyValues { new_flows: 400, denied: 7, vip_limited: 90, source_limited: 10 };
        let shown = totals(&stats, Style::PLAIN);
        let expected = "\
VIP  FLOW ATTEMPTS  DENIED  OVER VIP LIMIT  OVER SOURCE LIMIT
web            400       7              90                 10
";
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn rates_are_differences_over_the_time_between() {
        assert_eq!(
            rates(&stats(1), &stats(2), Duration::from_secs(2), Style::PLAIN),
            "\
2026-01-02T03:04:05Z

VIP  BACKEND  PACKETS/S  BYTES/S  NEW FLOWS/S
web                1.5k   1.5 MB          150
web  web-1         1.0k   1.0 MB          100
web  web-2          500   500 kB           50

      REASON   PACKETS/S  MEANING
pass  not_vip         25  about not_vip
"
        );
    }

    #[test]
    fn a_backend_that_is_new_counts_from_zero() {
        let mut before = stats(1);
        before.vips[0].backends.pop();
        let shown = rates(&before, &stats(2), Duration::from_secs(1), Style::PLAIN);
        assert!(shown.contains("web  web-2         2.0k   2.0 MB          200\n"), "{shown}");
    }
}
