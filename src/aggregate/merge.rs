//! One merged list: the items of all servers in a stable order, cut into pages (PROTOCOL 4.4).
//!
//! In: items with the name or URI they are exposed under. Out: pages as raw results, the same bytes for the same items.
//! Owns the pages it made. May not: edit anything of an item but that one member.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, BytesMut};

use crate::limits::{AGGREGATE_PAGE_BYTES_MAX, AGGREGATE_PAGE_ITEMS_MAX};
use crate::mcp::{ErrorObject, ListKind, Outcome, Raw, scan};

use super::cursor::Cursor;

/// One item of a merged list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As its server sent it.
    pub item: Raw,
    /// The JSON string to put in place of these bytes of the item; `None` for an item that stays as it is.
    pub splice: Option<(Range<usize>, Box<str>)>,
}

impl Entry {
    fn len(&self) -> usize {
        self.item.len() + self.splice.as_ref().map_or(0, |(range, text)| text.len().saturating_sub(range.len()))
    }

    fn put(&self, out: &mut BytesMut) {
        match &self.splice {
            None => out.put_slice(&self.item),
            Some((range, text)) => {
                out.put_slice(&self.item[..range.start]);
                out.put_slice(text.as_bytes());
                out.put_slice(&self.item[range.end..]);
            }
        }
    }
}

/// A merged list of one kind. Its pages are put together when they are first asked for, and then only handed out.
#[derive(Debug)]
pub struct Merged {
    kind: ListKind,
    /// Equal for equal content, also in another run of hub: a cursor stays valid while the list stays the same.
    generation: u64,
    unavailable: Vec<Arc<str>>,
    entries: Vec<Entry>,
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    items: Range<usize>,
    text: OnceLock<Raw>,
}

impl Merged {
    /// A list of these items. `unavailable` names the servers that could not contribute or cannot be called.
    pub fn new(kind: ListKind, generation: u64, unavailable: Vec<Arc<str>>, entries: Vec<Entry>) -> Self {
        let pages = cut(&entries);
        Self { kind, generation, unavailable, entries, pages }
    }

    /// Changes exactly when the list does.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The page that the raw `cursor` of a request names; the first without one.
    pub fn page(&self, cursor: Option<&Raw>) -> Outcome {
        let Some(cursor) = cursor else { return Outcome::Result(self.text(0)) };
        let bad = |why: &str| ErrorObject::invalid_params(format!("Invalid cursor: {why}")).into();
        let Some(cursor) = scan::unquote(cursor).and_then(|text| Cursor::decode(&text)) else {
            return bad("not one of this endpoint");
        };
        if cursor.generation != self.generation {
            return bad("the list has changed, start again without a cursor");
        }
        let offset = cursor.offset as usize;
        match self.pages.binary_search_by_key(&offset, |page| page.items.start) {
            Ok(index) => Outcome::Result(self.text(index)),
            Err(_) => bad("no page starts there"),
        }
    }

    fn text(&self, index: usize) -> Raw {
        self.pages[index].text.get_or_init(|| self.assemble(index)).clone()
    }

    fn assemble(&self, index: usize) -> Raw {
        let items = &self.entries[self.pages[index].items.clone()];
        let mut out = BytesMut::with_capacity(items.iter().map(|entry| entry.len() + 1).sum::<usize>() + 128);
        out.put_slice(format!("{{\"{}\":[", self.kind.items_key()).as_bytes());
        for (at, entry) in items.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            entry.put(&mut out);
        }
        out.put_u8(b']');
        if let Some(next) = self.pages.get(index + 1) {
            let offset = u32::try_from(next.items.start).expect("a list is far shorter");
            let cursor = Cursor { generation: self.generation, offset };
            out.put_slice(format!(",\"nextCursor\":\"{}\"", cursor.encode()).as_bytes());
        }
        if !self.unavailable.is_empty() {
            let aliases: Vec<&str> = self.unavailable.iter().map(|alias| &**alias).collect();
            let meta = serde_json::json!({ "hub/unavailable": aliases });
            out.put_slice(format!(",\"_meta\":{meta}").as_bytes());
        }
        out.put_u8(b'}');
        out.freeze()
    }
}

/// Cuts a list into pages; an empty list is one empty page.
fn cut(entries: &[Entry]) -> Vec<Page> {
    let page = |items| Page { items, text: OnceLock::new() };
    let (mut pages, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, entry) in entries.iter().enumerate() {
        let full = at - start == AGGREGATE_PAGE_ITEMS_MAX || bytes + entry.len() > AGGREGATE_PAGE_BYTES_MAX;
        if full && at > start {
            pages.push(page(start..at));
            (start, bytes) = (at, 0);
        }
        bytes += entry.len();
    }
    pages.push(page(start..entries.len()));
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn plain(text: String) -> Entry {
        Entry { item: Raw::from(text), splice: None }
    }

    fn result(outcome: &Outcome) -> Value {
        let Outcome::Result(raw) = outcome else { panic!("{outcome:?}") };
        serde_json::from_slice(raw).expect("JSON")
    }

    /// Follows cursors to the end.
    fn walk(merged: &Merged) -> (Vec<Value>, usize) {
        let (mut items, mut pages, mut cursor) = (Vec::new(), 0, None::<Raw>);
        loop {
            let page = result(&merged.page(cursor.as_ref()));
            items.extend(page["tools"].as_array().expect("items").clone());
            pages += 1;
            match page.get("nextCursor") {
                None => return (items, pages),
                Some(next) => cursor = Some(Raw::from(next.to_string())),
            }
            assert!(pages < 1000, "the cursors never end");
        }
    }

    #[test]
    fn only_the_name_changes() {
        let item = Raw::from_static(br#"{ "title":"x", "name" : "a" ,"b":[1] }"#);
        let start = memchr::memmem::find(&item, b"\"a\"").expect("it is there");
        let entry = Entry { item, splice: Some((start..start + 3, "\"fs__a\"".into())) };
        let merged = Merged::new(ListKind::Tools, 1, vec!["dead".into()], vec![entry]);
        let Outcome::Result(page) = merged.page(None) else { panic!("a page") };
        assert_eq!(
            page,
            r#"{"tools":[{ "title":"x", "name" : "fs__a" ,"b":[1] }],"_meta":{"hub/unavailable":["dead"]}}"#
        );
    }

    #[test]
    fn an_empty_list_is_a_page() {
        let merged = Merged::new(ListKind::Templates, 1, vec![], vec![]);
        assert_eq!(merged.page(None), Outcome::Result(Raw::from_static(b"{\"resourceTemplates\":[]}")));
    }

    #[test]
    fn cursors_of_another_list_are_refused() {
        let list = |generation, count| {
            Merged::new(ListKind::Tools, generation, vec![], (0..count).map(|i| plain(i.to_string())).collect())
        };
        let (old, new) = (list(1, 1200), list(2, 1200));
        let cursor = Raw::from(result(&old.page(None))["nextCursor"].to_string());
        assert_eq!(result(&old.page(Some(&cursor)))["tools"][0], 500);
        let off = Cursor { generation: 1, offset: 501 }.encode();
        for bad in [cursor, "\"\"".into(), "null".into(), "7".into(), "\"x\"".into(), format!("\"{off}\"").into()] {
            let Outcome::Error(error) = new.page(Some(&bad)) else { panic!("{bad:?} was taken") };
            assert!(error.starts_with(b"{\"code\":-32602,"), "{error:?}");
            assert!(
                bad == result(&old.page(None))["nextCursor"].to_string()
                    || matches!(old.page(Some(&bad)), Outcome::Error(_))
            );
        }
    }

    #[test]
    fn a_page_is_made_once() {
        let merged = Merged::new(ListKind::Tools, 1, vec![], vec![plain("1".into())]);
        let (Outcome::Result(one), Outcome::Result(two)) = (merged.page(None), merged.page(None)) else {
            panic!("pages")
        };
        assert_eq!(one.as_ptr(), two.as_ptr());
    }

    #[test]
    fn pages_are_bounded_in_bytes_but_never_empty() {
        let big = format!("\"{}\"", "x".repeat(AGGREGATE_PAGE_BYTES_MAX));
        let half = format!("\"{}\"", "x".repeat(AGGREGATE_PAGE_BYTES_MAX / 2));
        let items = [&big, &half, &half, &big].map(|text| plain(text.clone())).to_vec();
        let (walked, pages) = walk(&Merged::new(ListKind::Tools, 1, vec![], items));
        assert_eq!((walked.len(), pages), (4, 4));
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list(count in 0usize..2600) {
            let merged = Merged::new(ListKind::Tools, 7, vec![], (0..count).map(|i| plain(i.to_string())).collect());
            let (items, pages) = walk(&merged);
            prop_assert_eq!(items, (0..count).map(Value::from).collect::<Vec<_>>());
            prop_assert_eq!(pages, count.div_ceil(AGGREGATE_PAGE_ITEMS_MAX).max(1));
        }
    }
}
