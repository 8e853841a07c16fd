//! `explain`: where a flow goes, and why.

use crate::api::types::{ExplainReply, ExplainRequest};
use crate::cli::args::ExplainArgs;
use crate::cli::error::CliError;
use crate::cli::frame;
use crate::cli::output::Style;
use crate::cli::table::Tone;

pub(in crate::cli) async fn run(args: &ExplainArgs) -> Result<(), CliError> {
    let request =
        ExplainRequest { source: args.source, destination: args.destination, protocol: args.protocol };
    let reply = args.client.client().post("/v1/explain", &request).await?;
    args.client.show(&reply, text)
}

fn text(reply: &ExplainReply, style: Style) -> String {
    let tone = match reply.verdict.as_str() {
        "forward" => Tone::Good,
        "pass" => Tone::Waiting,
        _ => Tone::Bad,
    };
    let mut text = format!("{:<10} {}\n", "verdict", style.paint(&reply.verdict, tone));
    let mut line = |title: &str, value: &str| text.push_str(&format!("{title:<10} {value}\n"));
    line("why", &reply.why);
    if let Some(vip) = &reply.vip {
        line("vip", vip);
    }
    if let Some(route) = &reply.route {
        line("route", route);
    }
    if let Some(slot) = reply.slot {
        line("slot", &slot.to_string());
    }
    if let Some(backend) = &reply.backend {
        let address = reply.backend_address.map(|address| format!(" ({address})"));
        line("backend", &format!("{backend}{}", address.unwrap_or_default()));
    }
    if let Some(predicted) = predicted(reply, style) {
        line("predicted", &predicted);
    }
    if reply.verdict == "forward" {
        text.push_str(&frame::describe(&reply.frame));
    }
    text
}

/// What user space computes from the ring alone, and whether the kernel agrees.
fn predicted(reply: &ExplainReply, style: Style) -> Option<String> {
    if reply.predicted_slot.is_none() && reply.predicted_backend.is_none() {
        return None;
    }
    let slot = reply.predicted_slot.map(|slot| format!("slot {slot}"));
    let backend = reply.predicted_backend.as_ref().map(|name| format!("backend {name}"));
    let parts: Vec<_> = slot.into_iter().chain(backend).collect();
    let same = reply.predicted_slot == reply.slot && reply.predicted_backend == reply.backend;
    let verdict = if same {
        style.paint("as the kernel does", Tone::Good)
    } else {
        style.paint("the kernel does otherwise: a defect worth a report", Tone::Bad)
    };
    Some(format!("{} from the ring alone, {verdict}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> ExplainReply {
        ExplainReply {
            verdict: "forward".to_owned(),
            why: "slot 1234 of vip web belongs to web-1".to_owned(),
            vip: Some("web".to_owned()),
            route: None,
            slot: Some(1234),
            backend: Some("web-1".to_owned()),
            backend_address: Some("10.0.0.11".parse().expect("address")),
            predicted_slot: Some(1234),
            predicted_backend: Some("web-1".to_owned()),
            frame: "0200000000010200000000020800450000540000400040040000c00002020a00000b45".to_owned(),
        }
    }

    #[test]
    fn a_forwarded_flow_is_explained_down_to_its_outer_headers() {
        assert_eq!(
            text(&reply(), Style::PLAIN),
            "\
verdict    forward
why        slot 1234 of vip web belongs to web-1
vip        web
slot       1234
backend    web-1 (10.0.0.11)
predicted  slot 1234, backend web-1 from the ring alone, as the kernel does
outer      02:00:00:00:00:02 -> 02:00:00:00:00:01, IPv4 192.0.2.2 -> 10.0.0.11, ttl 64, dscp 0, no ECN, carries IPv4
  0000  02 00 00 00 00 01 02 00  00 00 00 02 08 00 45 00
  0010  00 54 00 00 40 00 40 04  00 00 c0 00 02 02 0a 00
  0020  00 0b
"
        );
    }

    #[test]
    fn a_disagreement_with_the_kernel_is_not_hidden() {
        let odd = ExplainReply { predicted_slot: Some(7), ..reply() };
        assert!(
            text(&odd, Style::PLAIN)
                .contains("slot 7, backend web-1 from the ring alone, the kernel does otherwise")
        );
    }

    #[test]
    fn a_passed_packet_has_no_outer_headers() {
        let passed = ExplainReply {
            verdict: "pass".to_owned(),
            why: "the destination address is no vip's".to_owned(),
            vip: None,
            route: None,
            slot: None,
            backend: None,
            backend_address: None,
            predicted_slot: None,
            predicted_backend: None,
            frame: "00".to_owned(),
        };
        assert_eq!(
            text(&passed, Style::PLAIN),
            "verdict    pass\nwhy        the destination address is no vip's\n"
        );
    }
}
