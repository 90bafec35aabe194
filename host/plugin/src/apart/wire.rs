//! The contract's values as bytes between freezer and the process of a plugin.
//!
//! Numbers are little-endian and as wide as their type, texts and lists begin with their length (32 bits), options with
//! 0 or 1, enumerations and variants with the number of their case, handles are the host's number for them. Whoever reads
//! pays for what a value needs in memory out of a budget, as a guest does in this process: no answer can grow beyond it.

use wasmtime::component::Resource;

/// Why bytes aren't what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nonsense {
    /// They are no such value.
    Malformed,
    /// The value would need more than the budget.
    TooLarge,
}

/// What can be written.
pub(crate) trait Put {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);

    /// Appends several, without their number.
    fn put_all(items: &[Self], out: &mut Vec<u8>)
    where
        Self: Sized,
    {
        for item in items {
            item.put(out);
        }
    }
}

/// What can be read.
pub(crate) trait Take: Sized {
    /// Reads one.
    ///
    /// # Errors
    /// [`Nonsense`].
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense>;

    /// Reads so many.
    ///
    /// # Errors
    /// [`Nonsense`].
    fn take_all(count: usize, input: &mut Reader<'_>) -> Result<Vec<Self>, Nonsense> {
        input.pay(count.saturating_mul(size_of::<Self>()))?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Self::take(input)?);
        }
        Ok(all)
    }
}

/// Bytes that are being read.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    budget: usize,
}

impl<'a> Reader<'a> {
    /// Reads values that need at most `budget` bytes of memory together.
    pub(crate) fn new(bytes: &'a [u8], budget: usize) -> Self {
        Self { bytes, budget }
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// [`Nonsense::Malformed`] if something does.
    pub(crate) fn end(&self) -> Result<(), Nonsense> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => Err(Nonsense::Malformed),
        }
    }

    fn pay(&mut self, bytes: usize) -> Result<(), Nonsense> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Nonsense::TooLarge)?;
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Nonsense> {
        let (bytes, rest) = self.bytes.split_at_checked(count).ok_or(Nonsense::Malformed)?;
        self.bytes = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Nonsense> {
        self.bytes(N)?.try_into().map_err(|_| Nonsense::Malformed)
    }

    fn count(&mut self) -> Result<usize, Nonsense> {
        usize::try_from(u32::take(self)?).map_err(|_| Nonsense::TooLarge)
    }
}

/// A length; what is longer than it can say passes no border, since a message has a ceiling far below.
fn put_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).unwrap_or(u32::MAX).put(out);
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Put for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }

        impl Take for $number {
            fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
                Ok(Self::from_le_bytes(input.array()?))
            }
        }
    )*};
}

numbers!(u16, u32, u64, i32, i64, f64);

impl Put for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn put_all(items: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(items);
    }
}

impl Take for u8 {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        let [byte] = input.array()?;
        Ok(byte)
    }

    fn take_all(count: usize, input: &mut Reader<'_>) -> Result<Vec<Self>, Nonsense> {
        input.pay(count)?;
        Ok(input.bytes(count)?.to_vec())
    }
}

impl Put for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push((*self).into());
    }
}

impl Take for bool {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        match u8::take(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Nonsense::Malformed),
        }
    }
}

impl Put for str {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_bytes().put(out);
    }
}

impl Put for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_str().put(out);
    }
}

impl Take for String {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        Self::from_utf8(Vec::take(input)?).map_err(|_| Nonsense::Malformed)
    }
}

impl<T: Put> Put for [T] {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        T::put_all(self, out);
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_slice().put(out);
    }
}

impl<T: Take> Take for Vec<T> {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        let count = input.count()?;
        T::take_all(count, input)
    }
}

impl<T: Put + ?Sized> Put for &T {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
}

impl<T: Put> Put for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
}

impl<T: Take> Take for Option<T> {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        bool::take(input)?.then(|| T::take(input)).transpose()
    }
}

impl<T: Put, E: Put> Put for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_err().put(out);
        match self {
            Ok(value) => value.put(out),
            Err(error) => error.put(out),
        }
    }
}

impl<T: Take, E: Take> Take for Result<T, E> {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        Ok(match bool::take(input)? {
            false => Ok(T::take(input)?),
            true => Err(E::take(input)?),
        })
    }
}

impl Put for () {
    fn put(&self, _: &mut Vec<u8>) {}
}

impl Take for () {
    fn take(_: &mut Reader<'_>) -> Result<Self, Nonsense> {
        Ok(())
    }
}

impl<A: Put, B: Put> Put for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
}

impl<A: Take, B: Take> Take for (A, B) {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

impl<T: 'static> Put for Resource<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.rep().put(out);
    }
}

/// The number alone: whether there is such a thing, the table says when it is used.
impl<T: 'static> Take for Resource<T> {
    fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
        Ok(Self::new_own(u32::take(input)?))
    }
}

/// Writes and reads records field by field.
macro_rules! records {
    ($($record:path { $($field:ident),* $(,)? })*) => {$(
        impl Put for $record {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }
        }

        impl Take for $record {
            fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
                Ok(Self { $($field: Take::take(input)?),* })
            }
        }
    )*};
}

/// Writes and reads enumerations and variants by the numbers of their cases.
macro_rules! choices {
    ($($choice:path { $($number:literal $case:ident $(($value:ident))?),* $(,)? })*) => {$(
        impl Put for $choice {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$case $(($value))? => {
                        out.push($number);
                        $($value.put(out);)?
                    })*
                }
            }
        }

        impl Take for $choice {
            fn take(input: &mut Reader<'_>) -> Result<Self, Nonsense> {
                Ok(match u8::take(input)? {
                    $($number => {
                        $(let $value = Take::take(input)?;)?
                        Self::$case $(($value))?
                    })*
                    _ => return Err(Nonsense::Malformed),
                })
            }
        }
    )*};
}

pub(crate) use {choices, records};
