//! Order-preserving keys: numbers big-endian, texts ended by a zero byte, so that byte order is the order of the parts.

use crate::model::OrgNo;
use crate::model::ids::EntityNo;

/// Builds one key. A text inside a key must not hold a zero byte; [`Key::text`] cuts it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn new() -> Key {
        Key(Vec::with_capacity(48))
    }

    pub(crate) fn org(org: OrgNo) -> Key {
        Key::new().u32(org.0)
    }

    pub(crate) fn entity(mut self, entity: EntityNo) -> Key {
        self.0.extend_from_slice(&entity.0.to_be_bytes());
        self
    }

    pub(crate) fn u32(mut self, number: u32) -> Key {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, number: u64) -> Key {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Key {
        let end = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
        self.0.extend_from_slice(text.as_bytes().get(..end).unwrap_or_default());
        self.0.push(0);
        self
    }

    /// Bytes of a length that the table fixes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Key {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first key behind all keys that start with this one.
    pub(crate) fn prefix_end(&self) -> Option<Vec<u8>> {
        let mut end = self.0.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Some(end);
            }
        }
        None
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// Takes a key apart again, part by part; `None` where the key is not of that form.
pub(crate) struct Parts<'a>(pub(crate) &'a [u8]);

impl<'a> Parts<'a> {
    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (head, tail) = self.0.split_first_chunk::<4>()?;
        self.0 = tail;
        Some(u32::from_be_bytes(*head))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (head, tail) = self.0.split_first_chunk::<8>()?;
        self.0 = tail;
        Some(u64::from_be_bytes(*head))
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text_bytes()?).ok()
    }

    pub(crate) fn text_bytes(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (head, tail) = self.0.split_at_checked(end)?;
        self.0 = tail.get(1..)?;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_the_order_of_the_parts() {
        let key = |n: u32, text: &str, m: u64| Key::new().u32(n).text(text).u64(m);
        let ordered =
            [key(1, "a", 9), key(1, "ab", 1), key(1, "b", 0), key(2, "", 0), key(256, "", 1)];
        for pair in ordered.windows(2) {
            assert!(pair[0].bytes() < pair[1].bytes(), "{pair:?}");
        }
    }

    #[test]
    fn parts_come_back() {
        let key = Key::new().u32(7).text("Ó Súilleabháin").u64(u64::MAX);
        let mut parts = Parts(key.bytes());
        assert_eq!(parts.u32(), Some(7));
        assert_eq!(parts.text(), Some("Ó Súilleabháin"));
        assert_eq!(parts.u64(), Some(u64::MAX));
        assert_eq!(parts.u32(), None);
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_all_its_keys() {
        let prefix = Key::new().u32(u32::MAX).text("x");
        let end = prefix.prefix_end().expect("has an end");
        assert!(prefix.clone().u64(u64::MAX).bytes() < end.as_slice());
        assert_eq!(Key::new().u32(u32::MAX).prefix_end(), None);
    }
}
