//! What became of one packet, and why: the kernel's answer beside what user space predicts.

use lb_common::abi::Reason;
use tracing::error;

use super::engine::{Engine, Refused};
use crate::api::types::ExplainReply;
use crate::dataplane::{Dataplane, ExplainOutcome, Explanation, Flow};
use crate::state::{Denied, Prediction, Prefix, VipKey, predict};

impl<D: Dataplane> Engine<D> {
    pub(super) fn explain(&self, flow: &Flow) -> Result<ExplainReply, Refused> {
        let ran = self.dataplane.explain(flow).map_err(Refused::Read)?;
        let predicted = predict(&self.applied, flow.source, flow.destination, flow.protocol);
        let predicted_dest = predicted.as_ref().and_then(|prediction| prediction.backend);
        let mut reply = ExplainReply {
            verdict: String::new(),
            why: String::new(),
            vip: predicted.as_ref().map(|prediction| self.vip_name(prediction.vip)),
            route: None,
            slot: ran.slot,
            backend: None,
            backend_address: None,
            predicted_slot: predicted.as_ref().and_then(|prediction| prediction.slot),
            predicted_backend: predicted_dest.map(|(name, _)| name.to_owned()),
            frame: ran.frame.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        match ran.outcome {
            ExplainOutcome::Forwarded { vip, route, backend } => {
                let name = predicted_dest.filter(|(_, dest)| dest.address == backend);
                let name = name.map_or_else(|| backend.to_string(), |(name, _)| name.to_owned());
                reply.verdict = "forward".to_owned();
                reply.why = self.forward_reason((vip, route), &ran, predicted.as_ref(), &name);
                reply.vip = Some(self.vip_name(vip));
                reply.route = self.route_name(vip, route);
                reply.backend = Some(name);
                reply.backend_address = Some(backend);
            }
            ExplainOutcome::Stopped(index) => {
                let reason = Reason::from_index(index);
                reply.verdict = reason.map_or("drop", Reason::kind).to_owned();
                reply.why = reason.map_or_else(
                    || format!("unknown reason {index}"),
                    |reason| format!("{} ({})", reason.meaning(), reason.label()),
                );
                let denied =
                    predicted.as_ref().and_then(|prediction| Some((prediction.vip, prediction.denied?)));
                if let Some((vip, denied)) = denied {
                    reply.why.push_str(&format!(": {}", self.denied_reason(vip, denied)));
                }
            }
        }
        let in_transition = self.in_transition(&ran);
        if in_transition {
            reply.why.push_str("; the slot has changed hands: its flows go where they began");
        }
        if !agrees(&ran, predicted.as_ref(), in_transition) {
            error!(?flow, ?ran, ?predicted, "kernel and user space pick differently; please report this");
            reply.why.push_str("; user space predicts otherwise, which is a defect worth a report");
        }
        Ok(reply)
    }

    pub(super) fn vip_name(&self, key: VipKey) -> String {
        self.desired.vips.get(&key).map_or_else(|| key.to_string(), |vip| vip.name.clone())
    }

    /// The name of a vip's route, by its number.
    pub(super) fn route_name(&self, vip: VipKey, number: u8) -> Option<String> {
        let position = usize::from(number).checked_sub(1)?;
        Some(self.desired.vips.get(&vip)?.routes.get(position)?.name.clone())
    }

    fn forward_reason(
        &self,
        (vip, route): (VipKey, u8),
        ran: &Explanation,
        predicted: Option<&Prediction<'_>>,
        backend: &str,
    ) -> String {
        let name = self.vip_name(vip);
        let of = match (self.route_name(vip, route), predicted.and_then(|prediction| prediction.route)) {
            (Some(route), Some((_, prefix))) => format!("route {route} (of {prefix}) of vip {name}"),
            (Some(route), None) => format!("route {route} of vip {name}"),
            (None, _) => format!("vip {name}"),
        };
        match (self.applied.vips.get(&vip), ran.slot) {
            (Some(forward), Some(slot)) => {
                format!("slot {slot} of {} of {of} belongs to {backend}", forward.ring_size)
            }
            _ => format!("{of} sends it to {backend}"),
        }
    }

    /// Whether the flow's slot is in transition, in which only the kernel knows where a flow belongs.
    fn in_transition(&self, ran: &Explanation) -> bool {
        let ExplainOutcome::Forwarded { vip, route, .. } = ran.outcome else { return false };
        let forward = match route {
            0 => self.applied.vips.get(&vip),
            _ => self.applied.routes.get(&(vip, route)),
        };
        forward.zip(ran.slot).is_some_and(|(forward, slot)| forward.is_in_transition(slot))
    }

    fn denied_reason(&self, vip: VipKey, denied: Denied) -> String {
        let said = |list: &str, by: Option<Prefix>| match by {
            Some(prefix) => format!("{prefix} is denied by {list}"),
            None => format!("{list} allows others only"),
        };
        match denied {
            Denied::ByGlobal(by) => said("the list for all vips", by),
            Denied::ByVip(by) => said(&format!("the list of vip {}", self.vip_name(vip)), by),
        }
    }
}

/// Whether the kernel did what was predicted. What it stops for other reasons than access lists is not predicted.
fn agrees(ran: &Explanation, predicted: Option<&Prediction<'_>>, in_transition: bool) -> bool {
    let denied = predicted.is_some_and(|prediction| prediction.denied.is_some());
    match ran.outcome {
        ExplainOutcome::Forwarded { vip, route, backend } => predicted.is_some_and(|prediction| {
            let (dest, predicted_route) =
                (prediction.backend, prediction.route.map_or(0, |(number, _)| number));
            let same_vip = !denied && (prediction.vip, predicted_route) == (vip, route);
            let same_dest =
                prediction.slot == ran.slot && dest.is_some_and(|(_, dest)| dest.address == backend);
            same_vip && (same_dest || in_transition)
        }),
        ExplainOutcome::Stopped(index) => (index == Reason::AccessDenied as u32) == denied,
    }
}
