//! `addresses`: who answers for the vips' addresses, and where they are announced.

use crate::api::types::{AddressPlace, AddressPlaceState, AddressStatus};
use crate::cli::args::ClientArgs;
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Cell, Table, Tone, left, right};
use crate::config;

pub(in crate::cli) async fn run(client: &ClientArgs) -> Result<(), CliError> {
    let reply = client.client().get("/v1/addresses").await?;
    client.show(&reply, |addresses: &Vec<AddressStatus>, style| list(addresses, style))
}

fn list(addresses: &[AddressStatus], style: Style) -> String {
    let mut table = Table::new([
        left("ADDRESS"),
        left("ANNOUNCE"),
        left("INTERFACE"),
        left("STATE"),
        left("LAST ANNOUNCED"),
        right("TIMES"),
        left("NOTE"),
    ]);
    for AddressStatus { address, announce, interfaces } in addresses {
        let (address, announce) = (address.to_string(), config::announce_word(*announce));
        if interfaces.is_empty() {
            let rest: [Cell; 5] = ["-".into(), "-".into(), "-".into(), "-".into(), Cell::default()];
            let [interface, state, last, times, note] = rest;
            table.row([address.into(), announce.into(), interface, state, last, times, note]);
            continue;
        }
        for place in interfaces {
            table.row([
                address.as_str().into(),
                announce.into(),
                place.interface.as_str().into(),
                state(place.state),
                place.last_announced.as_deref().unwrap_or("never").into(),
                place.announcements.to_string().into(),
                note(place).into(),
            ]);
        }
    }
    table.render(style)
}

fn state(state: AddressPlaceState) -> Cell {
    match state {
        AddressPlaceState::Owned => Cell::new("owned", Tone::Good),
        AddressPlaceState::Probing => Cell::new("probing", Tone::Waiting),
        AddressPlaceState::Conflict => Cell::new("conflict", Tone::Bad),
        AddressPlaceState::Waiting => Cell::new("waiting", Tone::Bad),
    }
}

/// What is in the way.
pub(super) fn note(place: &AddressPlace) -> String {
    match (place.state, &place.other_mac) {
        (AddressPlaceState::Conflict, Some(mac)) => format!("{mac} has it"),
        (AddressPlaceState::Owned, Some(mac)) => format!("{mac} claims it, too ({} times)", place.conflicts),
        (AddressPlaceState::Conflict, None) => "another host has it".to_owned(),
        _ => place.reason.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Announce;

    fn place(interface: &str, state: AddressPlaceState) -> AddressPlace {
        AddressPlace {
            interface: interface.to_owned(),
            state,
            reason: None,
            other_mac: None,
            last_announced: None,
            announcements: 0,
            conflicts: 0,
        }
    }

    fn address(text: &str, announce: Announce, interfaces: Vec<AddressPlace>) -> AddressStatus {
        AddressStatus { address: text.parse().expect("address"), announce, interfaces }
    }

    #[test]
    fn an_address_has_a_line_for_each_interface_with_what_is_in_the_way() {
        let owned = AddressPlace {
            last_announced: Some("2026-01-02T03:04:05Z".to_owned()),
            announcements: 17,
            ..place("eth0", AddressPlaceState::Owned)
        };
        let conflict = AddressPlace {
            other_mac: Some("02:00:00:00:00:09".to_owned()),
            ..place("eth1", AddressPlaceState::Conflict)
        };
        let waiting = AddressPlace {
            reason: Some("interface eth9 is down".to_owned()),
            ..place("eth9", AddressPlaceState::Waiting)
        };
        let addresses = [
            address("192.0.2.10", Announce::Arp, vec![owned, conflict]),
            address("192.0.2.11", Announce::None, vec![]),
            address("2001:db8::10", Announce::Address, vec![waiting]),
        ];
        assert_eq!(
            list(&addresses, Style::PLAIN),
            "\
ADDRESS       ANNOUNCE  INTERFACE  STATE     LAST ANNOUNCED        TIMES  NOTE
192.0.2.10    arp       eth0       owned     2026-01-02T03:04:05Z     17
192.0.2.10    arp       eth1       conflict  never                     0  02:00:00:00:00:09 has it
192.0.2.11    none      -          -         -                         -
2001:db8::10  address   eth9       waiting   never                     0  interface eth9 is down
"
        );
    }

    #[test]
    fn a_duplicate_found_by_the_kernel_has_no_mac_address() {
        assert_eq!(note(&place("eth0", AddressPlaceState::Conflict)), "another host has it");
        assert_eq!(note(&place("eth0", AddressPlaceState::Owned)), "");
    }

    #[test]
    fn a_rival_of_an_owned_address_is_named() {
        let claimed = AddressPlace {
            other_mac: Some("02:00:00:00:00:09".to_owned()),
            conflicts: 3,
            ..place("eth0", AddressPlaceState::Owned)
        };
        assert_eq!(note(&claimed), "02:00:00:00:00:09 claims it, too (3 times)");
    }
}
