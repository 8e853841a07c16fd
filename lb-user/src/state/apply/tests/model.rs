//! Random changes against a model that knows nothing of overlays: a map of members, and the file to come back to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Members = BTreeMap<String, DesiredMember>;
type Model = BTreeMap<String, Members>;

const NAMES: [&str; 5] = ["a", "b", "c", "x", "y"];
const VIPS: [&str; 2] = ["one", "two"];

fn address(name: &str) -> IpAddr {
    let host = 1 + NAMES.iter().position(|known| *known == name).unwrap();
    format!("10.0.0.{host}").parse().unwrap()
}

fn of_file(config: &Config) -> Model {
    let desired = merge(config, &Overlay::default()).desired;
    desired.vips.into_values().map(|vip| (vip.name, vip.members)).collect()
}

/// Does `change`; says whether it was possible.
fn act(model: &mut Model, file: &Model, change: &Change) -> bool {
    let (backend, only) = match change {
        Change::Add { vip, backend, weight, .. } => {
            let default = match (file[vip].get(backend), backend.as_str()) {
                (Some(member), _) => member.weight,
                (None, "b") => 70,
                (None, _) => 100,
            };
            let member = DesiredMember::new(address(backend), weight.unwrap_or(default));
            let members = model.get_mut(vip).unwrap();
            let possible = !members.contains_key(backend);
            members.entry(backend.clone()).or_insert(member);
            return possible;
        }
        Change::Remove { backend, vip, .. }
        | Change::Drain { backend, vip, .. }
        | Change::Disable { backend, vip }
        | Change::Maintenance { backend, vip, .. }
        | Change::Enable { backend, vip }
        | Change::Undrain { backend, vip }
        | Change::Weight { backend, vip, .. } => (backend, vip),
    };
    let mut done = false;
    for (vip, members) in model {
        if only.as_ref().is_some_and(|only| only != vip) {
            continue;
        }
        let Some(member) = members.get_mut(backend) else {
            continue;
        };
        done = true;
        match change {
            Change::Drain { .. } => member.drained = true,
            Change::Disable { .. } => (member.drained, member.silent) = (true, false),
            Change::Maintenance { .. } => (member.drained, member.silent) = (true, true),
            Change::Undrain { .. } | Change::Enable { .. } => {
                (member.drained, member.silent) = (false, false)
            }
            Change::Weight { weight, .. } => member.weight = *weight,
            Change::Remove { .. } | Change::Add { .. } => {
                members.remove(backend);
            }
        }
    }
    done
}

fn any_change() -> impl Strategy<Value = Change> {
    let name = prop::sample::select(NAMES.to_vec());
    let vip = prop::sample::select(VIPS.to_vec());
    let weight = prop::sample::select(vec![0u32, 5, 70, 100, 200]);
    let only = prop::option::of(vip.clone());
    (0..8, name, vip, only, prop::option::of(weight)).prop_map(|(kind, name, vip, only, weight)| match kind {
        0 => Change::Add {
            vip: vip.to_owned(),
            backend: name.to_owned(),
            address: Some(address(name)),
            weight,
        },
        1 => remove(name, only),
        2 => drain(name, only),
        3 => undrain(name, only),
        4 => Change::Disable { backend: name.to_owned(), vip: only.map(str::to_owned) },
        5 => Change::Enable { backend: name.to_owned(), vip: only.map(str::to_owned) },
        6 => {
            let (backend, vip) = (name.to_owned(), only.map(str::to_owned));
            Change::Maintenance { backend, vip, timeout_seconds: None, force: false }
        }
        _ => weigh(name, only, weight.unwrap_or(7)),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_sequence_of_changes_does_what_the_model_does(changes in prop::collection::vec(any_change(), 1..40)) {
        let config = parse(&FILE.replace("dests = 32", "dests = 64"));
        let file = of_file(&config);
        let mut model = file.clone();
        let mut overlay = Overlay::default();
        for (second, change) in changes.iter().enumerate() {
            let result = overlay.apply(change, &mark(second), &config);
            let possible = act(&mut model, &file, change);
            prop_assert_eq!(result.is_ok(), possible, "{:?}: {:?}", change, result);
            overlay = result.map_or(overlay, |changed| changed.overlay);
            let merged = merge(&config, &overlay);
            prop_assert!(merged.dormant.is_empty());
            let found: Model = merged.desired.vips.into_values().map(|vip| (vip.name, vip.members)).collect();
            prop_assert_eq!(&found, &model, "after {:?}", change);
            prop_assert_eq!(overlay.is_empty(), model == file, "an override without effect: {:?}", overlay);
            prop_assert_eq!(overlay.settled(&config), overlay.clone());
            let stored = overlay.iter().map(|(vip, backend, change)| {
                let text = serde_json::to_string(change).unwrap();
                (vip.to_string().parse().unwrap(), backend.to_owned(), serde_json::from_str(&text).unwrap())
            });
            prop_assert_eq!(Overlay::from_parts(stored), overlay.clone());
        }
    }
}
