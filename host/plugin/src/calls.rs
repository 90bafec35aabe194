//! The calls into guests, each made once: here where the guest runs in this process, in its worker where it runs apart.

pub(crate) mod mode;
pub(crate) mod storage;

use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource, ResourceAny};

use crate::apart::{Put, Reader, Take, Unanswered};
use crate::interfaces::resources::Body;
use crate::manifest::PluginKind;

/// What a kind of plugin exports.
pub(crate) trait Exports: Sized + Send + Sync + 'static {
    /// A component that is linked and has these exports.
    type Linked<T: 'static>: Clone + Send + Sync;

    /// The kind.
    const KIND: PluginKind;

    /// Looks the exports up.
    ///
    /// # Errors
    /// If one is missing or of another type.
    fn link<T: 'static>(linked: InstancePre<T>) -> wasmtime::Result<Self::Linked<T>>;

    /// Makes the instance of a store.
    ///
    /// # Errors
    /// If it fails while it starts.
    async fn start<T: Send + 'static>(
        linked: &Self::Linked<T>,
        store: &mut Store<T>,
    ) -> wasmtime::Result<Self>;

    /// Makes the call of this number and appends its answer to `out`.
    ///
    /// # Errors
    /// If there is no such call, or if it ends in no answer.
    async fn answer<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
        opened: &mut Option<ResourceAny>,
        call: (u16, Reader<'_>),
        out: &mut Vec<u8>,
    ) -> Result<(), Unanswered>;
}

/// One call into a plugin that has these exports.
pub(crate) trait Call<E>: Put {
    /// What it is called in messages to a worker.
    const NUMBER: u16;

    /// What it answers.
    type Answer: Put + Take;

    /// Makes it; `opened` is the thing of the guest that an earlier call opened.
    ///
    /// # Errors
    /// If it ends in no answer.
    async fn make<T: Send + 'static>(
        self,
        exports: &E,
        store: &mut Store<T>,
        opened: &mut Option<ResourceAny>,
    ) -> wasmtime::Result<Self::Answer>;
}

/// The number of the start of an instance, which is no call of the contract.
pub(crate) const START: u16 = 0;

/// An argument that a call borrows, and what a worker holds meanwhile.
trait Lent<'a> {
    type Owned: Take;

    fn lend(owned: &'a Self::Owned) -> Self;
}

impl<'a> Lent<'a> for &'a str {
    type Owned = String;

    fn lend(owned: &'a String) -> Self {
        owned
    }
}

impl<'a> Lent<'a> for Option<&'a str> {
    type Owned = Option<String>;

    fn lend(owned: &'a Option<String>) -> Self {
        owned.as_deref()
    }
}

impl<'a, T: Take + 'a> Lent<'a> for &'a [T] {
    type Owned = Vec<T>;

    fn lend(owned: &'a Vec<T>) -> Self {
        owned
    }
}

impl<'a, T: Take + 'a> Lent<'a> for &'a T {
    type Owned = T;

    fn lend(owned: &'a T) -> Self {
        owned
    }
}

macro_rules! copied {
    ($($type:ty),*) => {$(
        impl Lent<'_> for $type {
            type Owned = Self;

            fn lend(owned: &Self) -> Self {
                *owned
            }
        }
    )*};
}

copied!(u32, u64, Option<u64>, storage::Existing);

/// A body that is lent to the guest for one call, by the host's number for it.
#[derive(Clone, Copy)]
pub(crate) struct LentBody(pub(crate) u32);

impl LentBody {
    fn handle(self) -> Resource<Body> {
        Resource::new_borrow(self.0)
    }
}

/// A body that is given to the guest, by the host's number for it.
#[derive(Clone, Copy)]
pub(crate) struct GivenBody(pub(crate) u32);

impl GivenBody {
    fn handle(self) -> Resource<Body> {
        Resource::new_own(self.0)
    }
}

macro_rules! handles {
    ($($type:ident),*) => {$(
        impl Put for $type {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
        }

        impl Lent<'_> for $type {
            type Owned = u32;

            fn lend(owned: &u32) -> Self {
                Self(*owned)
            }
        }
    )*};
}

handles!(LentBody, GivenBody);

/// What an earlier call opened.
fn thing(opened: Option<ResourceAny>) -> wasmtime::Result<ResourceAny> {
    opened.ok_or_else(|| wasmtime::format_err!("nothing is open"))
}

/// Makes a type of each call, and a function that makes the call of a number.
macro_rules! calls {
    (<$any:lifetime> $exports:ty, |$plugin:ident, $store:ident, $opened:ident| {
        $($(#[$doc:meta])* $number:literal $call:ident $(<$life:lifetime>)? { $($field:ident: $type:ty),* $(,)? }
            -> $answer:ty { $($make:tt)* })*
    }) => {
        $(
            $(#[$doc])*
            pub(crate) struct $call $(<$life>)? { $(pub(crate) $field: $type),* }

            impl $(<$life>)? Put for $call $(<$life>)? {
                fn put(&self, _out: &mut Vec<u8>) {
                    $(self.$field.put(_out);)*
                }
            }

            impl $(<$life>)? Call<$exports> for $call $(<$life>)? {
                const NUMBER: u16 = $number;
                type Answer = $answer;

                async fn make<T: Send + 'static>(
                    self,
                    $plugin: &$exports,
                    $store: &mut Store<T>,
                    $opened: &mut Option<ResourceAny>,
                ) -> wasmtime::Result<$answer> {
                    let Self { $($field),* } = self;
                    // Some calls have no use for one of them.
                    let _: (&$exports, &Option<ResourceAny>) = ($plugin, $opened);
                    $($make)*
                }
            }
        )*

        #[expect(clippy::extra_unused_lifetimes, reason = "the types of borrowed arguments name it")]
        async fn answer<$any, T: Send + 'static>(
            exports: &$exports,
            store: &mut Store<T>,
            opened: &mut Option<ResourceAny>,
            (number, mut arguments): (u16, Reader<'_>),
            out: &mut Vec<u8>,
        ) -> Result<(), Unanswered> {
            match number {
                $($number => {
                    $(let $field = <<$type as Lent<$any>>::Owned as Take>::take(&mut arguments)?;)*
                    arguments.end()?;
                    let call = $call { $($field: Lent::lend(&$field)),* };
                    call.make(exports, store, opened).await?.put(out);
                    Ok(())
                })*
                _ => Err(Nonsense::Malformed.into()),
            }
        }
    };
}

use calls;
