//! Shared state of handlers: one value per type, added before the worker starts.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

/// The shared values by type.
#[derive(Default, Clone)]
pub struct StateMap {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl StateMap {
    pub(crate) fn insert<S: Send + Sync + 'static>(&mut self, state: S) {
        self.values.insert(TypeId::of::<S>(), Arc::new(state));
    }

    pub(crate) fn get<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.values.get(&TypeId::of::<S>())?.clone().downcast().ok()
    }
}
