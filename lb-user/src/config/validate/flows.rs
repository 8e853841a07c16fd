//! How long flows are remembered.

use super::Check;
use crate::config::file::FlowsFile;
use crate::config::reader::Located;
use crate::config::render::duration;
use crate::state::FlowTimes;

pub(super) fn validate(check: &mut Check<'_>, file: &FlowsFile) -> FlowTimes {
    let default = FlowTimes::default();
    let mut take = |key, found: &Option<Located<_>>, default| {
        check.take(&["flows", key], found.clone()).unwrap_or(default)
    };
    let transition = take("transition", &file.transition, default.transition);
    let times = FlowTimes {
        tcp_idle: take("tcp_idle", &file.tcp_idle, default.tcp_idle),
        udp_idle: take("udp_idle", &file.udp_idle, default.udp_idle),
        opened: take("opened", &file.opened, default.opened),
        closing: take("closing", &file.closing, default.closing),
        transition,
        quiet: take("quiet", &file.quiet, FlowTimes::usual_quiet(transition)),
        udp_learning: take("udp_learning", &file.udp_learning, default.udp_learning),
    };
    if let Some(quiet) = file.quiet.as_ref().filter(|quiet| quiet.value > transition) {
        let [long, most] = [quiet.value, transition].map(duration);
        let text = format!(
            "[flows]: quiet: {long} is longer than transition = \"{most}\", by which all is over; write {most} or less, or a longer transition"
        );
        check.problems.add(quiet.line, text);
    }
    times
}
