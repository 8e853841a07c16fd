//! A thread of its own that loads and removes prefix lists: a million prefixes take seconds, in which the daemon has other
//! things to do. Orders are carried out one after the other, so that what is removed makes room for what is loaded after it.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use aya::maps::MapData;

use super::access_map::AccessMap;
use super::layout::{List, RetiredList};
use super::{DataplaneError, HitsJob, LoadJob};

/// The way to the thread. It ends when this and all jobs are dropped; what was ordered before is done.
#[derive(Debug)]
pub(super) struct ListKeeper {
    map: Arc<AccessMap>,
    orders: Sender<Order>,
}

enum Order {
    Load(Arc<List>, Sender<io::Result<()>>),
    Remove(RetiredList),
    /// Says when everything before was done.
    Reach(Sender<()>),
}

impl ListKeeper {
    pub(super) fn start(map: MapData) -> Result<Self, DataplaneError> {
        let map = Arc::new(AccessMap::new(map));
        let (orders, receiver) = channel();
        let keeper = Arc::clone(&map);
        std::thread::Builder::new()
            .name("prefix lists".to_owned())
            .spawn(move || keep(&keeper, &receiver))
            .map_err(|source| DataplaneError::Kernel { what: "a thread for prefix lists".into(), source })?;
        Ok(Self { map, orders })
    }

    /// Loads a list that nothing names yet, and waits for it. When the kernel refuses, nothing of it stays.
    pub(super) fn load(&self, list: &Arc<List>) -> Result<(), DataplaneError> {
        load(&self.orders, list)
    }

    /// Loads lists, whenever the job is done.
    pub(super) fn loading(&self, lists: Vec<Arc<List>>) -> LoadJob {
        let orders = self.orders.clone();
        Box::new(move || lists.iter().try_for_each(|list| load(&orders, list)))
    }

    /// Removes a list that nothing names any more, some time later.
    pub(super) fn remove(&self, retired: RetiredList) {
        // Cannot fail: the thread lives as long as this.
        let _ = self.orders.send(Order::Remove(retired));
    }

    /// Reads the hits of a list, whenever the job is done.
    pub(super) fn hits(&self, list: Option<Arc<List>>) -> HitsJob {
        let map = Arc::clone(&self.map);
        let refused = |source| DataplaneError::Kernel { what: "ACCESS".into(), source };
        Box::new(move || list.map_or_else(|| Ok(Vec::new()), |list| map.hits(&list).map_err(refused)))
    }

    /// Waits until everything that was ordered is done.
    pub(super) fn wait(&self) {
        let (done, reached) = channel();
        if self.orders.send(Order::Reach(done)).is_ok() {
            let _ = reached.recv();
        }
    }
}

fn load(orders: &Sender<Order>, list: &Arc<List>) -> Result<(), DataplaneError> {
    let (reply, loaded) = channel();
    let gone = || io::Error::other("the thread for prefix lists has ended");
    let loaded = match orders.send(Order::Load(Arc::clone(list), reply)) {
        Ok(()) => loaded.recv().unwrap_or_else(|_| Err(gone())),
        Err(_) => Err(gone()),
    };
    let what = format!("loading {} prefixes into ACCESS", list.content.len());
    loaded.map_err(|source| DataplaneError::Kernel { what, source })
}

fn keep(map: &AccessMap, orders: &Receiver<Order>) {
    for order in orders {
        match order {
            // The one who asked may have gone; the list is removed by an order of its own then.
            Order::Load(list, reply) => drop(reply.send(map.load(&list))),
            Order::Remove(retired) => {
                if let Err(error) = map.hand_on_hits(&retired) {
                    tracing::warn!(%error, "hits of prefixes that stay begin anew");
                }
                if let Err(error) = map.remove(&retired.list) {
                    tracing::error!(%error, "prefixes of a list that is not used any more stay in the kernel's table");
                }
            }
            Order::Reach(done) => drop(done.send(())),
        }
    }
}
