//! Prefix lists in `ACCESS`: a number for each content, however many vips use it. A number means the same for ever, so a
//! list is changed by loading the new one beside it and naming that.

use std::sync::Arc;

use lb_common::abi::{ACCESS_PREFIXES, AccessRule};

use crate::dataplane::DataplaneError;
use crate::state::{AccessRules, Prefix, Prefixes};

/// A list in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The lower bits of [`lb_common::abi::AccessKey::list`].
    pub id: u32,
    pub content: ListContent,
}

/// What is in a list. Comparing contents that are the same objects costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListContent {
    Access(AccessRules),
    /// By position of the route; no prefix is in two of them.
    Routes(Vec<Prefixes>),
}

impl ListContent {
    /// Prefixes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Access(rules) => rules.allow.len() + rules.deny.len(),
            Self::Routes(routes) => routes.iter().map(|route| route.len()).sum(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The verdict on a prefix; `None` when it is not in the list.
    #[must_use]
    pub fn verdict(&self, prefix: &Prefix) -> Option<u32> {
        let holds = |prefixes: &Prefixes| prefixes.binary_search(prefix).is_ok();
        match self {
            Self::Access(rules) if holds(&rules.allow) => Some(AccessRule::ALLOW),
            Self::Access(rules) => holds(&rules.deny).then_some(AccessRule::DENY),
            Self::Routes(routes) => {
                (1..).zip(routes).find(|(_, route)| holds(route)).map(|(number, _)| number)
            }
        }
    }

    /// All prefixes with their verdicts, as [`AccessRule::verdict`] has them.
    pub fn rules(&self) -> impl Iterator<Item = (Prefix, u32)> + '_ {
        fn of(prefixes: &Prefixes, verdict: u32) -> impl Iterator<Item = (Prefix, u32)> + '_ {
            prefixes.iter().map(move |prefix| (*prefix, verdict))
        }
        let (rules, routes) = match self {
            Self::Access(rules) => (Some(rules), [].as_slice()),
            Self::Routes(routes) => (None, routes.as_slice()),
        };
        let allow = rules.into_iter().flat_map(|rules| of(&rules.allow, AccessRule::ALLOW));
        let deny = rules.into_iter().flat_map(|rules| of(&rules.deny, AccessRule::DENY));
        let routes = (1..).zip(routes).flat_map(|(number, route)| of(route, number));
        allow.chain(deny).chain(routes)
    }
}

/// A list that nothing names any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredList {
    pub list: Arc<List>,
    /// Those that took its place; what they have in common goes on counting.
    pub successors: Vec<Arc<List>>,
}

/// All lists in the kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    /// The last number that was given away; 0 is no list's.
    last: u32,
    live: Vec<Arc<List>>,
    /// Numbers of those that policies name; others were prepared for a change to come.
    used: Vec<u32>,
    retired: Vec<RetiredList>,
}

impl Lists {
    /// The number of the list with this content, and the list when it is new. 0: there is nothing in it.
    pub(super) fn number(
        &mut self,
        content: ListContent,
    ) -> Result<(u32, Option<Arc<List>>), DataplaneError> {
        if content.is_empty() {
            return Ok((0, None));
        }
        if let Some(known) = self.live.iter().find(|list| list.content == content) {
            return Ok((known.id, None));
        }
        let needed = (self.prefixes() + content.len()) as u64;
        if needed > u64::from(ACCESS_PREFIXES) {
            return Err(DataplaneError::TooManyPrefixes { needed });
        }
        self.last += 1;
        let list = Arc::new(List { id: self.last, content });
        self.live.push(Arc::clone(&list));
        Ok((list.id, Some(list)))
    }

    /// Retires the lists that are not among `used` any more. `replaced`: which list came where which was before.
    pub(super) fn keep(&mut self, used: Vec<u32>, replaced: &[(u32, u32)]) {
        let (stay, leave): (Vec<_>, Vec<_>) =
            self.live.drain(..).partition(|list: &Arc<List>| used.contains(&list.id));
        let successors = |of: u32| {
            let is_one = |list: &&Arc<List>| replaced.contains(&(of, list.id));
            stay.iter().filter(is_one).map(Arc::clone).collect()
        };
        let leave = leave.into_iter().map(|list| RetiredList { successors: successors(list.id), list });
        self.retired.extend(leave);
        self.live = stay;
        self.used = used;
    }

    /// Forgets the lists that were prepared and never named.
    pub(super) fn abandon(&mut self) -> Vec<Arc<List>> {
        let (stay, leave) = self.live.drain(..).partition(|list| self.used.contains(&list.id));
        self.live = stay;
        leave
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    pub(super) fn take_retired(&mut self) -> Vec<RetiredList> {
        std::mem::take(&mut self.retired)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Arc<List>> {
        self.live.iter().find(|list| list.id == id)
    }

    fn prefixes(&self) -> usize {
        let retired = self.retired.iter().map(|retired| &retired.list);
        self.live.iter().chain(retired).map(|list| list.content.len()).sum()
    }
}
