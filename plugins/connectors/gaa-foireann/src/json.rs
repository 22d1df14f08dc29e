//! Reading JSON whose types are not known beforehand, in one pass and without a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value that is neither object nor array.
#[derive(Debug, Clone)]
pub(crate) enum Scalar<'de> {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    /// Borrowed from the answer unless it was written with escapes.
    Text(Cow<'de, str>),
}

/// Takes whatever JSON value comes next.
pub(crate) trait Take<'de>: Sized {
    type Out;

    fn scalar(self, scalar: Scalar<'de>) -> Self::Out;
    fn seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Out, A::Error>;
    fn map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Out, A::Error>;
}

/// Makes a seed of a [`Take`].
pub(crate) struct Any<T>(pub(crate) T);

impl<'de, T: Take<'de>> DeserializeSeed<'de> for Any<T> {
    type Value = T::Out;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Out, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Take<'de>> Visitor<'de> for Any<T> {
    type Value = T::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Boolean(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Integer(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Unsigned(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<T::Out, E> {
        Ok(self.0.scalar(Scalar::Text(Cow::Borrowed(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T::Out, A::Error> {
        self.0.seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T::Out, A::Error> {
        self.0.map(map)
    }
}

/// Hands an object's next key to a function, without copying it.
pub(crate) struct Key<F>(pub(crate) F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Key<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Key<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<T, E> {
        Ok((self.0)(key))
    }
}

/// The tokens of a JSON pointer: `/data/members` is `data`, `members`.
pub(crate) fn pointer_tokens(pointer: &str) -> Vec<Cow<'_, str>> {
    let token = |text: &'_ str| -> String { text.replace("~1", "/").replace("~0", "~") };
    pointer
        .split('/')
        .skip(1)
        .map(|text| if text.contains('~') { Cow::Owned(token(text)) } else { Cow::Borrowed(text) })
        .collect()
}

/// Reads the rest of an array and drops it.
pub(crate) fn drain_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<de::IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads the rest of an object and drops it.
pub(crate) fn drain_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
    Ok(())
}
