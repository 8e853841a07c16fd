//! What people ask for.
#![forbid(unsafe_code)]

use lb_vrrp::machine::{Input, Role};

use super::node::{Change, Node};
use super::{Order, Refused, clock};

impl Node {
    /// Does it at once.
    pub(super) fn on_order(&mut self, order: Order) -> Result<(), Refused> {
        self.changed(Change::Important);
        match order {
            Order::HandOver(name) => {
                let masters: Vec<String> = self
                    .named(name.as_deref())?
                    .into_iter()
                    .filter(|name| self.groups.get(name).is_some_and(|group| group.role() == Role::Master))
                    .collect();
                if masters.is_empty() {
                    return Err(self.no_master(name));
                }
                for name in masters {
                    self.on_all(&name, Input::HandOver, clock::now());
                }
                Ok(())
            }
            Order::Maintenance(name, on) => {
                for name in self.named(name.as_deref())? {
                    if on {
                        self.maintenance.insert(name.clone());
                    } else {
                        self.maintenance.remove(&name);
                    }
                    self.on_all(&name, Input::Maintenance(on), clock::now());
                }
                Ok(())
            }
            Order::Own(name, owned) => {
                if self.command_external(&name, owned) {
                    Ok(())
                } else {
                    Err(Refused::NotExternal(name))
                }
            }
        }
    }

    /// The group of this name, or with a router of this name; all of them without a name.
    fn named(&self, name: Option<&str>) -> Result<Vec<String>, Refused> {
        let Some(name) = name else { return Ok(self.groups.keys().cloned().collect()) };
        let found = self.groups.iter().find(|(group, running)| {
            *group == name || running.members.iter().any(|member| member.name == name)
        });
        found.map(|(group, _)| vec![group.clone()]).ok_or_else(|| Refused::Unknown(name.to_owned()))
    }

    fn no_master(&self, name: Option<String>) -> Refused {
        let Some(name) = name else { return Refused::NoMaster };
        let groups = self.named(Some(&name)).unwrap_or_default();
        let role = groups.first().and_then(|group| self.groups.get(group)).map(super::node::Running::role);
        Refused::NotMaster(name, role.unwrap_or_default())
    }
}
