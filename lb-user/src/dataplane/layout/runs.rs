//! Runs of ring pages: vips whose rings came out alike, with the same local numbers, read the very same pages.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::dataplane::extents::{Extent, Extents};
use crate::state::{History, ServerId};

/// All that what is in a run of pages follows from.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) ring: Arc<[u16]>,
    pub(super) past: Option<Arc<History>>,
    /// Of the vip's dests, in the order in which `ring` numbers them.
    pub(super) locals: Vec<Option<u16>>,
    /// Of the dests of `past`.
    pub(super) past_locals: Vec<Option<u16>>,
    /// Server ids of connections, and slots of the table of them; 0: none.
    pub(super) ids: Vec<(ServerId, u16)>,
    pub(super) id_slots: u32,
}

impl Recipe {
    /// Where ring and past are, which tells them apart: what is alike was made once.
    fn places(&self) -> [usize; 2] {
        let past = self.past.as_ref().map_or(0, |past| Arc::as_ptr(past).addr());
        [Arc::as_ptr(&self.ring).addr(), past]
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        self.places() == other.places()
            && self.locals == other.locals
            && self.past_locals == other.past_locals
            && (&self.ids, self.id_slots) == (&other.ids, other.id_slots)
    }
}

impl Eq for Recipe {}

impl Hash for Recipe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.places(), &self.locals).hash(state);
    }
}

/// The pages of all rings.
#[derive(Clone, Debug)]
pub(super) struct Runs {
    pages: Extents,
    /// By their first page.
    live: BTreeMap<u32, Run>,
    starts: HashMap<Arc<Recipe>, u32>,
    /// Left, but packets may still read them.
    retired: Vec<Extent>,
}

#[derive(Clone, Debug)]
struct Run {
    extent: Extent,
    /// Keeps what it is told by where it is.
    recipe: Arc<Recipe>,
    users: u32,
}

/// A run for a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Somebody has the same.
    Shared(Extent),
    /// To be written.
    New(Extent),
}

impl Runs {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            pages: Extents::new(capacity),
            live: BTreeMap::new(),
            starts: HashMap::new(),
            retired: Vec::new(),
        }
    }

    pub(super) const fn capacity(&self) -> u32 {
        self.pages.capacity()
    }

    /// Makes room for no more pages than these, of which those behind the ones in use are free.
    pub(super) fn shrink_to(&mut self, capacity: u32) {
        self.pages.shrink_to(capacity);
    }

    /// Pages that somebody has.
    pub(super) fn used(&self) -> u32 {
        self.live.values().map(|run| run.extent.len).sum()
    }

    /// Pages of the longest run.
    pub(super) fn largest(&self) -> u32 {
        self.live.values().map(|run| run.extent.len).max().unwrap_or(0)
    }

    /// A run of `len` pages for `recipe`; `None` when there is no room.
    pub(super) fn take(&mut self, recipe: &Recipe, len: u32) -> Option<Taken> {
        if let Some(run) = self.starts.get(recipe).and_then(|start| self.live.get_mut(start)) {
            run.users += 1;
            return Some(Taken::Shared(run.extent));
        }
        let extent = self.pages.take(len)?;
        let recipe = Arc::new(recipe.clone());
        self.starts.insert(Arc::clone(&recipe), extent.start);
        self.live.insert(extent.start, Run { extent, recipe, users: 1 });
        Some(Taken::New(extent))
    }

    /// Takes a run back from one who had it.
    pub(super) fn release(&mut self, extent: Extent) {
        let Some(run) = self.live.get_mut(&extent.start) else { return };
        run.users -= 1;
        if run.users == 0
            && let Some(run) = self.live.remove(&extent.start)
        {
            self.starts.remove(&run.recipe);
            self.retired.push(run.extent);
        }
    }

    pub(super) const fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Makes retired pages free.
    pub(super) fn settle(&mut self) {
        for extent in self.retired.drain(..) {
            self.pages.give(extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(ring: &Arc<[u16]>, locals: &[u16]) -> Recipe {
        Recipe {
            ring: Arc::clone(ring),
            past: None,
            locals: locals.iter().copied().map(Some).collect(),
            past_locals: Vec::new(),
            ids: Vec::new(),
            id_slots: 0,
        }
    }

    #[test]
    fn what_is_alike_is_there_until_its_last_user_leaves() {
        let ring: Arc<[u16]> = [0, 1, 0].into();
        let mut runs = Runs::new(2);
        let Some(Taken::New(first)) = runs.take(&recipe(&ring, &[0, 1]), 1) else { panic!("no room") };
        assert_eq!(runs.take(&recipe(&ring, &[0, 1]), 1), Some(Taken::Shared(first)));
        let Some(Taken::New(other)) = runs.take(&recipe(&ring, &[1, 0]), 1) else { panic!("other numbers") };
        assert_eq!((runs.used(), runs.take(&recipe(&ring, &[2, 3]), 1)), (2, None));
        runs.release(first);
        assert!(!runs.has_retired(), "one user is left");
        runs.release(first);
        runs.release(other);
        assert_eq!((runs.has_retired(), runs.used()), (true, 0));
        assert_eq!(runs.take(&recipe(&ring, &[0, 1]), 1), None, "packets may still read what is retired");
        runs.settle();
        assert_eq!(runs.take(&recipe(&ring, &[0, 1]), 2), Some(Taken::New(Extent { start: 0, len: 2 })));
    }

    #[test]
    fn another_ring_with_the_same_slots_is_not_taken_for_the_same() {
        let (one, other): (Arc<[u16]>, Arc<[u16]>) = ([0, 1].into(), [0, 1].into());
        let mut runs = Runs::new(8);
        runs.take(&recipe(&one, &[0, 1]), 1);
        assert!(matches!(runs.take(&recipe(&other, &[0, 1]), 1), Some(Taken::New(_))));
    }
}
