//! Properties of any document.
//!
//! In: generated texts. Out: verdicts. Owns no state. May not: touch a file.
