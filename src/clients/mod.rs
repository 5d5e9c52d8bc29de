//! Other programs' config files: which clients there are, where their files lie, what an entry means, how it is
//! edited. PURE.
//!
//! In: the text of a file and what is known of its client. Out: the entries it holds; the text with entries changed
//! and everything else kept. Owns nothing. May not: open a file, read the environment, or print.
