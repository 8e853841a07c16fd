//! Any valid hook, for property tests.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::config::{BackendConfig, VipConfig};
use crate::health::probe::Tls;
use crate::hooks::{
    Address, Arguments, Call, Class, Email, Exec, Filter, Hook, Kind, Limits, On, Security, Webhook,
    default_port,
};
use crate::state::VipKey;

/// Lets hooks tell of one vip and one backend alone, where there are any.
pub(super) fn restrict(
    hooks: &mut BTreeMap<String, Hook>,
    vips: &BTreeMap<VipKey, VipConfig>,
    backends: &BTreeMap<String, BackendConfig>,
) {
    for Hook { filter, .. } in hooks.values_mut() {
        filter.vips.extend(vips.values().next().map(|vip| vip.name.clone()));
        filter.backends.extend(backends.keys().last().cloned());
    }
}

fn path() -> impl Strategy<Value = String> {
    "/[a-z/ \"]{1,9}"
}

prop_compose! {
    fn tls()(verify in any::<bool>(), ca in prop::option::of(path())) -> Tls {
        Tls::new(None, verify, ca.filter(|_| verify), None)
    }
}

fn exec() -> impl Strategy<Value = Call> {
    let arguments = prop::sample::select(vec![Arguments::None, Arguments::Keepalived]);
    (path(), prop::collection::vec("[ -z]{0,9}|\\{text\\}", 0..3), arguments).prop_map(
        |(program, rest, arguments)| {
            let command = std::iter::once(program).chain(rest).collect();
            Call::Exec(Exec { command, arguments })
        },
    )
}

prop_compose! {
    fn webhook()(
        (host, is_tls, tls) in ("[a-z]{1,8}", any::<bool>(), tls()),
        file in prop::option::of(path()),
        headers in prop::collection::vec(("x-[a-z]{1,8}", "[a-zA-Z0-9]{1,8}"), 0..3),
        headers_file in prop::option::of(path()),
    ) -> Call {
        let scheme = if is_tls { "https" } else { "http" };
        let url = file.map_or(Address::Url(format!("{scheme}://{host}.example.com/x?y")), Address::File);
        Call::Webhook(Webhook { url, headers, headers_file, tls })
    }
}

prop_compose! {
    fn email()(
        server in "[a-z]{1,8}",
        port in prop::option::of(1..=u16::MAX),
        security in prop::sample::select(vec![Security::None, Security::Starttls, Security::Tls]),
        login in prop::option::of(("[ -~]{0,9}", path())),
        from in "[a-z]{1,8}",
        to in prop::collection::vec("[a-z]{1,8}", 1..3),
        tls in tls(),
    ) -> Call {
        let mailbox = |name: String| format!("{name}@example.com");
        Call::Email(Email {
            server,
            port: port.unwrap_or(default_port(security)),
            security,
            login: login.filter(|_| security != Security::None),
            from: mailbox(from),
            to: to.into_iter().map(mailbox).collect(),
            tls,
        })
    }
}

prop_compose! {
    pub(super) fn any_hook()(
        call in prop_oneof![exec(), webhook(), email()],
        on in prop::collection::btree_set(prop::sample::select(On::all().collect::<Vec<_>>()), 1..4),
        millis in 100..=300_000u64,
        tries in 1..=20u32,
        (per_minute, burst, waiting) in (0..=60_000u32, 1..=10_000u32, 1..=10_000usize),
    ) -> Hook {
        let tries = if matches!(call, Call::Exec(_)) { crate::hooks::DEFAULT_TRIES } else { tries };
        let keepalived = matches!(&call, Call::Exec(exec) if exec.arguments == Arguments::Keepalived);
        let on = match keepalived {
            true if tries % 2 == 0 => [On::Class(Class::Vrrp)].into(),
            true => [On::Kind(Kind::GroupRole)].into(),
            false => on,
        };
        let filter = Filter { on, ..Filter::default() };
        let timeout = Duration::from_millis(millis);
        Hook { call, filter, timeout, tries, limits: Limits { per_minute, burst, waiting } }
    }
}
