//! Draining the lists of a child: all pages of a kind, as raw items. PURE.
//!
//! In: results of list requests. Out: the next request, then a [`List`]. Owns the pages so far. May not: turn a failed
//! list into an empty one (DESIGN 2.7).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::bridge::headers::HeaderTable;
use crate::config::{ServerName, ToolFilter};
use crate::limits::LIST_PAGES_MAX;
use crate::mcp::splice::{Object, array};
use crate::mcp::{ListKind, Outcome, Raw, message, scan};

use super::id_map::IdMap;
use super::outlet::CallId;
use super::snapshot::{List, Lists};

/// What a page leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Ask for the next one with these params.
    Next(Raw),
    /// The kind is complete.
    Done(Arc<List>),
    /// It failed, and why.
    Failed(String),
}

#[derive(Debug)]
struct Drain {
    kind: ListKind,
    items: Vec<Raw>,
    cursors: HashSet<Raw>,
}

/// The lists being drained, by the call that fetches the next page of each.
#[derive(Debug, Default)]
pub(super) struct Drains {
    by_call: IdMap<CallId, Drain>,
}

impl Drains {
    pub(super) fn begin(&mut self, call: CallId, kind: ListKind) {
        self.by_call.insert(call, Drain { kind, items: Vec::new(), cursors: HashSet::new() });
    }

    /// Is a kind being drained?
    pub(super) fn running(&self, kind: ListKind) -> bool {
        self.by_call.values().any(|drain| drain.kind == kind)
    }

    pub(super) fn owns(&self, call: CallId) -> bool {
        self.by_call.contains_key(&call)
    }

    pub(super) fn clear(&mut self) {
        self.by_call.clear();
    }

    /// A page came. `next_call` is the id under which the next page will be asked for, if there is one.
    pub(super) fn page(&mut self, call: CallId, outcome: &Outcome, next_call: CallId) -> Option<(ListKind, Page)> {
        let mut drain = self.by_call.remove(&call)?;
        let kind = drain.kind;
        let page = match drain.take(outcome) {
            Ok(None) => Page::Done(Arc::new(List::new(drain.items))),
            Ok(Some(cursor)) => {
                let params = [&b"{\"cursor\":"[..], &cursor, b"}"].concat();
                self.by_call.insert(next_call, drain);
                Page::Next(Raw::from(params))
            }
            Err(why) => Page::Failed(why),
        };
        Some((kind, page))
    }
}

impl Drain {
    /// Takes the items of a page; gives the cursor of the next.
    fn take(&mut self, outcome: &Outcome) -> Result<Option<Raw>, String> {
        let method = self.kind.method();
        let result = match outcome {
            Outcome::Result(result) => Object::scan(result).ok_or_else(|| format!("{}: no object", method.name()))?,
            Outcome::Error(error) => {
                let text = Object::scan(error).and_then(|error| error.get_str("message")).unwrap_or_default();
                return Err(format!("{} failed: {text}", method.name()));
            }
        };
        let items = result.get(self.kind.items_key()).filter(|items| items.first() == Some(&b'['));
        let items = items.ok_or_else(|| format!("{}: the result has no `{}`", method.name(), self.kind.items_key()))?;
        self.items.extend(message::elements(&items).filter(|item| item.first() == Some(&b'{')));
        // Only a string is a cursor; sloppy servers send null at the end.
        let cursor = result.get("nextCursor").filter(|cursor| cursor.first() == Some(&b'"'));
        Ok(cursor.filter(|cursor| {
            let sane = self.cursors.len() < LIST_PAGES_MAX && self.cursors.insert(cursor.clone());
            if !sane {
                tracing::warn!(
                    method = method.name(),
                    "the server repeats a cursor or has too many pages; its list is cut"
                );
            }
            sane
        }))
    }
}

impl List {
    /// A list of these items.
    pub fn new(items: Vec<Raw>) -> Self {
        let mut hasher = DefaultHasher::new();
        items.hash(&mut hasher);
        Self { items, digest: hasher.finish() }
    }

    /// The list as one result without a cursor.
    pub fn to_result(&self, kind: ListKind) -> Outcome {
        let items = self.items.join(&b","[..]);
        Outcome::Result(Raw::from([b"{\"", kind.items_key().as_bytes(), b"\":[", &items[..], b"]}"].concat()))
    }

    /// Reads what [`Self::to_result`] wrote (the durable cache).
    pub fn from_result(kind: ListKind, result: &Raw) -> Option<Self> {
        scan::text(result).ok()?;
        let items = Object::scan(result)?.get(kind.items_key())?;
        Some(Self::new(message::elements(&items).map(|item| Raw::copy_from_slice(&item)).collect()))
    }

    /// Only the tools that the configuration admits.
    pub(super) fn admitted(&self, filter: &ToolFilter) -> Self {
        let admits = |tool: &&Raw| tool_name(tool).is_some_and(|name| filter.admits(&name));
        Self::new(self.items.iter().filter(admits).cloned().collect())
    }
}

impl Lists {
    /// With one kind replaced; also keeps `read_only` and `mirrors` in step with the tools.
    pub(super) fn with(&self, kind: ListKind, list: Arc<List>) -> Self {
        let mut lists = self.clone();
        if kind == ListKind::Tools {
            lists.read_only = Arc::new(list.items.iter().filter_map(read_only_name).collect());
            lists.mirrors = Arc::new(HeaderTable::compile(&list.items));
        }
        lists.kinds[kind as usize] = Some(list);
        lists
    }

    /// Tells of annotations that are not valid: worth a warning once per list.
    pub(super) fn complain(&self, server: &ServerName) {
        let count = self.mirrors.invalid();
        if count > 0 {
            let first = self.mirrors.complaints().join("; ");
            tracing::warn!(server = %server, count, first, "headers that cannot be mirrored");
        }
    }
}

fn tool_name(tool: &Raw) -> Option<String> {
    Object::scan(tool)?.get_str("name")
}

fn read_only_name(tool: &Raw) -> Option<String> {
    let tool = Object::scan(tool)?;
    let hint = Object::scan(&tool.get("annotations")?)?.get("readOnlyHint")?;
    (&hint[..] == b"true").then(|| tool.get_str("name"))?
}

/// A live page of `tools/list` with only the admitted tools; every other member stays.
pub(super) fn admitted_page(result: &Raw, filter: &ToolFilter) -> Option<Raw> {
    let object = Object::scan(result)?;
    let items = object.get("tools").filter(|items| items.first() == Some(&b'['))?;
    let kept: Vec<Raw> =
        message::elements(&items).filter(|tool| tool_name(tool).is_some_and(|name| filter.admits(&name))).collect();
    Some(object.edit(&[("tools", Some(&array(&kept)))]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn result(text: &str) -> Outcome {
        Outcome::Result(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn all_pages_in_order_and_a_repeated_cursor_ends_it() {
        let mut drains = Drains::default();
        drains.begin(CallId(1), ListKind::Tools);
        let page = drains.page(CallId(1), &result(r#"{"tools":[{"name":"a"}],"nextCursor":"x"}"#), CallId(2));
        assert_eq!(page, Some((ListKind::Tools, Page::Next(Bytes::from_static(br#"{"cursor":"x"}"#)))));
        let page = drains.page(CallId(2), &result(r#"{"tools":[{"name":"b"}],"nextCursor":"x"}"#), CallId(3));
        let Some((_, Page::Done(list))) = page else { panic!("{page:?}") };
        assert_eq!(list.items, [&br#"{"name":"a"}"#[..], br#"{"name":"b"}"#]);
        let Outcome::Result(raw) = list.to_result(ListKind::Tools) else { panic!("result") };
        assert_eq!(List::from_result(ListKind::Tools, &raw).as_ref(), Some(&*list));
    }

    #[test]
    fn a_failed_list_is_not_an_empty_one() {
        let mut drains = Drains::default();
        for bad in ["{}", r#"{"tools":null}"#, "[]"] {
            drains.begin(CallId(1), ListKind::Tools);
            let page = drains.page(CallId(1), &result(bad), CallId(2));
            assert!(matches!(page, Some((_, Page::Failed(_)))), "{bad}");
        }
    }

    #[test]
    fn hints_and_filters() {
        let tools = r#"{"tools":[{"name":"r","annotations":{"readOnlyHint":true}},{"name":"delete_x"},{"name":"w"}],"_meta":{}}"#;
        let raw = Bytes::copy_from_slice(tools.as_bytes());
        let list = Arc::new(List::from_result(ListKind::Tools, &raw).expect("list"));
        let lists = Lists::default().with(ListKind::Tools, list.clone());
        assert_eq!(*lists.read_only, HashSet::from(["r".to_owned()]));
        let filter = ToolFilter::new(vec!["*".into()], vec!["delete_*".into()]);
        assert_eq!(list.admitted(&filter).items.len(), 2);
        let page = admitted_page(&raw, &filter).expect("page");
        assert_eq!(page, r#"{"tools":[{"name":"r","annotations":{"readOnlyHint":true}},{"name":"w"}],"_meta":{}}"#);
    }
}
