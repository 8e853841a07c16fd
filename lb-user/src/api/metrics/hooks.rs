//! The metrics of hooks. Their counts begin anew when a hook is new, and with the daemon.

use prometheus_client::registry::Registry;

use super::{Counters, Gauges, Labels, SetValue};
use crate::api::types::HookStatus;

pub(super) fn write(registry: &mut Registry, hooks: &[HookStatus]) {
    let (calls, tries, left_out) = (Counters::default(), Counters::default(), Counters::default());
    let (waiting, failing) = (Gauges::default(), Gauges::default());
    registry.register("hook_calls", "Calls of a hook, by how they ended", calls.clone());
    registry.register("hook_tries_failed", "Single attempts of a hook that failed", tries.clone());
    registry.register(
        "hook_events_left_out",
        "Events that had no call of their own, for the rate or since the queue was full",
        left_out.clone(),
    );
    registry.register("hook_waiting", "Events that a hook has still to tell", waiting.clone());
    registry.register("hook_failing", "1 while the last attempt of a hook has failed", failing.clone());
    for hook in hooks {
        let labels = || -> Labels { vec![("hook", hook.name.clone()), ("type", hook.kind.clone())] };
        let with = |name: &'static str, value: &str| [labels(), vec![(name, value.to_owned())]].concat();
        calls.set_value(with("result", "sent"), hook.sent);
        calls.set_value(with("result", "failed"), hook.failed);
        tries.set_value(labels(), hook.tries_failed);
        left_out.set_value(with("reason", "rate"), hook.limited);
        left_out.set_value(with("reason", "queue"), hook.dropped);
        waiting.set_value(labels(), hook.waiting as f64);
        failing.set_value(labels(), if hook.is_failing { 1.0 } else { 0.0 });
    }
}
